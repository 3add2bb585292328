"""`bundle-build constraints show`: from a manifest on disk to the effective file of each group."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from bundler.errors import ConstraintError, UsageError
from bundler.events import ignore
from bundler.process import Command, run
from bundler.store.cas import Store
from bundler.workflows.constraints import ConstraintGroup, show_constraints

MANIFEST = """\
schema: 1
release: {{name: r, version: "1"}}
constraints:
  - {{name: pins, url: "{url}"}}
  - {{name: upper, git: {{url: "{git}", revision: main, path: upper.txt}}}}
venvs:
  one: {{path: /opt/one, packages: [a]}}
  two:
    path: /opt/two
    packages: [a]
    constraints: {{layers: [{{name: own, lines: ["b==9"]}}]}}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest whose layers come from an address, a git repository, and its own lines."""
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "upper.txt").write_text("a==1\nb==1\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "--quiet", "-b", "main"], ["add", "."], [*who, "commit", "--quiet", "-m", "x"]):
        run(Command(argv=["git", *words], cwd=repository))
    pins = tmp_path / "pins.txt"
    pins.write_text("a==2\n")
    path = tmp_path / "m.yaml"
    path.write_text(MANIFEST.format(url=pins.as_uri(), git=repository.as_uri()))
    return path


def shown(manifest: Path, only: str = "") -> tuple[ConstraintGroup, ...]:
    return show_constraints(manifest, Store(manifest.parent / "store"), ignore, only=only)


def test_every_group_has_its_effective_constraints(manifest: Path) -> None:
    """Layers from an address and from git are read and merged for each group of venvs."""
    release, two = shown(manifest)

    assert [entry.requirement for entry in release.effective.entries] == ["a==2", "b==1"]
    assert [entry.requirement for entry in two.effective.entries] == ["a==2", "b==9"]
    assert release.records[1].location.endswith(":upper.txt")


def test_one_group_is_chosen_by_its_venv(manifest: Path) -> None:
    """A venv's name selects its group; an unknown name is refused with those that are known."""
    assert [group.name for group in shown(manifest, "one")] == ["release"]
    with pytest.raises(UsageError) as caught:
        shown(manifest, "three")

    assert caught.value.hint == "groups: release, two"


def test_layers_that_cannot_be_had_are_named_together(manifest: Path) -> None:
    """A lost file behind an address and a lost file in git make one refusal."""
    (manifest.parent / "pins.txt").unlink()
    manifest.write_text(manifest.read_text().replace("path: upper.txt", "path: lower.txt"))

    with pytest.raises(ConstraintError) as caught:
        shown(manifest)

    assert [problem.where for problem in caught.value.problems] == [
        "constraint layer pins",
        "constraint layer upper",
    ]


@pytest.mark.slow
def test_the_command_prints_a_constraints_file(manifest: Path) -> None:
    """The output is a constraints file whose comments say who lost; --json says the same as data."""
    program = [str(Path(sys.executable).with_name("bundle-build")), "constraints", "show", str(manifest)]
    env = {**os.environ, "BUNDLE_STORE": str(manifest.parent / "store")}

    text = run(Command(argv=[*program, "--group", "one"], env=env)).text
    data = json.loads(run(Command(argv=[*program, "--lost", "--json"], env=env)).text)

    assert f"a==2  # pins {(manifest.parent / 'pins.txt').as_uri()}:1" in text.splitlines()
    assert text.splitlines()[-1].startswith("# Lost: a==1 (upper ")
    assert [group["lost"][0]["winner"] for group in data] == ["a==2", "a==2"]
