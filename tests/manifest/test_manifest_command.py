"""`bundle-build manifest` from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bundler.errors import ManifestError
from bundler.events import Event, Warned
from bundler.model.target import known_target
from bundler.workflows.manifest import (
    check_manifests,
    explain_manifest,
    open_manifest,
    read_document,
    resolve_targets,
)

GOOD = """\
schema: 1
release: {name: r, version: "1"}
targets: [auto, debian-12-x86_64, ubuntu-24.04-x86_64]
venvs: {a: {path: /v/a-1, packages: [x], smoke: [{run: x --version}]}}
"""


def bundle_build(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from bundler.cli.build import main; main()", "manifest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace("[x]", "[a b, c d]"))
    return path


def ignore(_event: Event) -> None:
    """Drop the event."""


def test_check_says_that_a_manifest_is_right(good: Path) -> None:
    """A right manifest ends with status 0 and a line on stdout."""
    done = bundle_build("check", good)

    assert (done.returncode, done.stderr) == (0, "")
    assert "r 1, 1 venv, no problems" in done.stdout


def test_check_reports_the_problems_of_all_files(good: Path, bad: Path, tmp_path: Path) -> None:
    """Every problem of every file is on stderr, and the status is that of manifests."""
    done = bundle_build("check", good, bad, tmp_path / "none.yaml")

    assert done.returncode == ManifestError.exit_code
    assert f"{bad}:4: venvs.a.packages[0]:" in done.stderr
    assert f"{bad}:4: venvs.a.packages[1]:" in done.stderr
    assert "none.yaml cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_sample_can_be_checked(tmp_path: Path) -> None:
    """`sample` into a file, `check` that file: no problems."""
    path = tmp_path / "sample.yaml"
    path.write_text(bundle_build("sample").stdout)

    assert bundle_build("check", path).returncode == 0


def test_explain_shows_the_plan_as_text_and_json(good: Path) -> None:
    """Both forms name each venv on each target that was asked for."""
    text = bundle_build("explain", good, "--target", "debian-12-x86_64")
    data = json.loads(bundle_build("explain", good, "--target", "debian-12-x86_64", "--json").stdout)

    assert "a on debian-12-x86_64 (Python 3.11.2): /v/a-1" in text.stdout
    assert [(one["venv"], one["target"], one["requirements"]) for one in data["venvs"]] == [
        ("a", "debian-12-x86_64", ["x", "pip"])
    ]


def test_explain_shows_how_packages_are_built(good: Path) -> None:
    """Build constraints and each package's settings are shown under its normalised name."""
    good.write_text(
        GOOD + 'build: {constraints: ["setuptools<81"], packages: {A_b: {env: {CC: Gcc}, submodules: true}}}\n'
    )

    text = bundle_build("explain", good, "--target", "debian-12-x86_64").stdout

    assert "build constraints   setuptools<81" in text
    assert "build settings      a-b: env CC=Gcc; submodules true" in text


def test_explain_refuses_an_unknown_target(good: Path) -> None:
    """A wrong target name on the command line is refused with those that are known."""
    with pytest.raises(ManifestError, match="no target name"):
        explain_manifest(good, ["debian"], lambda: known_target("debian-12-x86_64"), ignore)


def test_auto_is_the_host_and_counts_once(good: Path) -> None:
    """``auto`` becomes the probed target; listing the same one by name does not repeat it."""
    host = known_target("debian-12-x86_64")

    found = resolve_targets(open_manifest(good, ignore).manifest, lambda: host)

    assert [target.name for target in found] == ["debian-12-x86_64", "ubuntu-24.04-x86_64"]


def test_deprecated_names_become_warnings(tmp_path: Path) -> None:
    """Each deprecated name is an event for whoever watches."""
    path = tmp_path / "old.yaml"
    path.write_text(GOOD.replace("path:", "install_path:"))
    events: list[Event] = []

    check_manifests([path], events.append)

    assert [event.message for event in events if isinstance(event, Warned)] == [
        f"{path}:4: venvs.a.install_path is deprecated (write path)"
    ]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A directory or device is refused before it is opened."""
    with pytest.raises(OSError, match="not a regular file"):
        read_document(tmp_path)
