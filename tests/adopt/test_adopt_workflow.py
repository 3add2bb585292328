"""`bundle-build adopt` as a whole: the manifest it writes passes `manifest check`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bundler.errors import ManifestError, RequirementError, UsageError
from bundler.events import Event, Noted, Warned, ignore
from bundler.model.manifest_load import LoadedManifest
from bundler.process import Command, run
from bundler.workflows.adopt import AdoptRequest, adopt
from bundler.workflows.manifest import open_manifest


def written(source: Path, output: Path, *, partial: bool = False) -> LoadedManifest:
    adopt(AdoptRequest(source=source, output=output, version="2.0", partial=partial), ignore)
    return open_manifest(output, ignore)


def wheelhouse(directory: Path, *names: str) -> Path:
    directory.mkdir()
    for name in names:
        (directory / name).write_bytes(b"")
    return directory


def test_requirements_become_a_manifest(tmp_path: Path) -> None:
    """The written manifest loads, is named after the file, and names the constraints file beside it."""
    (tmp_path / "My Service.txt").write_text("-c uc.txt\nkeystone\n")
    (tmp_path / "uc.txt").write_text("keystone===29.0.0\n")

    manifest = written(tmp_path / "My Service.txt", tmp_path / "sub" / "m.yaml").manifest

    assert (manifest.release.name, manifest.release.version) == ("my-service", "2.0")
    assert manifest.venvs["my-service"].packages == ("keystone",)
    assert [layer.file for layer in manifest.constraints] == ["../uc.txt"]


def test_a_wheelhouse_becomes_pins_and_a_folder(tmp_path: Path) -> None:
    """Each project in the folder is pinned once, whatever number of wheels it has; other files are ignored."""
    house = wheelhouse(
        tmp_path / "wheelhouse",
        "PyYAML-6.0.2-cp311-cp311-manylinux2014_x86_64.whl",
        "PyYAML-6.0.2-cp312-cp312-manylinux2014_x86_64.whl",
        "six-1.17.0-py2.py3-none-any.whl",
        "simplegeneric-0.8.1.zip",
        "index.html",
    )

    manifest = written(house, tmp_path / "m.yaml").manifest

    assert manifest.wheel_folders == ("wheelhouse",)
    assert manifest.venvs["wheelhouse"].packages == ("pyyaml==6.0.2", "simplegeneric==0.8.1", "six==1.17.0")


def test_a_wheelhouse_that_leaves_a_choice_is_refused(tmp_path: Path) -> None:
    """Two versions of a project, misnamed wheels and eggs are listed together."""
    names = ("a-1-py3-none-any.whl", "a-2-py3-none-any.whl", "b.whl", "c-1.egg")
    house = wheelhouse(tmp_path / "wheelhouse", *names)

    with pytest.raises(RequirementError) as caught:
        adopt(AdoptRequest(source=house), ignore)

    assert len(caught.value.problems) == 3
    assert "a is there in several versions: 1, 2" in str(caught.value.problems[2])


def test_a_real_freeze_becomes_a_manifest(tmp_path: Path) -> None:
    """What pip freeze says of the environment that runs this test can be adopted, this project itself included."""
    frozen = run(Command(argv=[sys.executable, "-m", "pip", "freeze", "--exclude-editable"])).stdout
    (tmp_path / "freeze.txt").write_bytes(frozen)

    manifest = written(tmp_path / "freeze.txt", tmp_path / "m.yaml").manifest

    assert any(package.startswith("packaging==") for package in manifest.venvs["freeze"].packages)


def test_nothing_is_written_when_something_cannot_be_carried_over(tmp_path: Path) -> None:
    """All obstacles are raised together; with partial, the rest is written and the manifest says what is missing."""
    (tmp_path / "r.txt").write_text("six\n--pre\n-r gone.txt\n")
    output = tmp_path / "m.yaml"
    seen: list[Event] = []

    with pytest.raises(RequirementError) as caught:
        adopt(AdoptRequest(source=tmp_path / "r.txt", output=output), ignore)
    assert [problem.where for problem in caught.value.problems] == ["r.txt:2", "r.txt:3"]
    assert not output.exists()

    adopt(AdoptRequest(source=tmp_path / "r.txt", output=output, partial=True), seen.append)
    assert output.read_text().count("# Not carried over: r.txt:") == 2
    assert sum(isinstance(event, Warned) for event in seen) == 2


def test_notes_reach_the_observer(tmp_path: Path) -> None:
    """What is done otherwise from now on is told, and returned."""
    (tmp_path / "r.txt").write_text("six==1 --hash=sha256:00\n")
    seen: list[Event] = []

    report = adopt(AdoptRequest(source=tmp_path / "r.txt"), seen.append)

    assert len(report.notes) == 1
    assert [type(event) for event in seen] == [Noted]


def test_an_existing_manifest_is_kept(tmp_path: Path) -> None:
    """A file at the place of the output is replaced on demand only."""
    (tmp_path / "r.txt").write_text("six\n")
    output = tmp_path / "m.yaml"
    output.write_text("mine")

    with pytest.raises(UsageError):
        adopt(AdoptRequest(source=tmp_path / "r.txt", output=output), ignore)
    assert output.read_text() == "mine"

    adopt(AdoptRequest(source=tmp_path / "r.txt", output=output, force=True), ignore)
    assert "six" in output.read_text()


def test_a_file_without_packages_is_refused(tmp_path: Path) -> None:
    """An empty file makes no manifest."""
    (tmp_path / "r.txt").write_text("# nothing\n")

    with pytest.raises(UsageError):
        adopt(AdoptRequest(source=tmp_path / "r.txt"), ignore)


def test_a_name_that_no_release_may_have_is_refused(tmp_path: Path) -> None:
    """Name and version given by the user are checked as in any manifest."""
    (tmp_path / "r.txt").write_text("six\n")

    with pytest.raises(ManifestError):
        adopt(AdoptRequest(source=tmp_path / "r.txt", name="Not A Name"), ignore)
