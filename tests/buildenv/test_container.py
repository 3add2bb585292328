"""The container driver: engines and images as they come, and what it says when they do not serve."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.buildenv.container import ContainerEnvironment
from bundler.buildenv.limits import Limits
from bundler.buildenv.port import EnvironmentSpec
from bundler.errors import BuildEnvironmentError
from bundler.model.target import Python, known_target
from tests.buildenv.rooms import room_of
from tests.containers import TARGET, VARIABLES, Podman, docker_of

#: Any spec, where no container is started.
SPEC = EnvironmentSpec(driver="container", target=TARGET, scratch=Path("/nowhere"), image="some/image")


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a directory that is the whole PATH."""
    place = tmp_path / "engines"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    return place


def write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def refusal(spec: EnvironmentSpec) -> BuildEnvironmentError:
    with pytest.raises(BuildEnvironmentError) as caught:
        ContainerEnvironment.open(spec)
    return caught.value


@pytest.mark.usefixtures("engines")
def test_without_an_engine_the_command_that_installs_one_is_named() -> None:
    """Neither podman nor docker is installed."""
    error = refusal(SPEC)

    assert error.message == "neither podman nor docker is installed, so no build can run in a container"
    assert error.hint == "apt-get install podman"


def test_without_an_image_the_manifests_key_is_named() -> None:
    """The manifest says container, but not of which image."""
    error = refusal(replace(SPEC, image=""))

    assert error.message == f"no image is named for {TARGET.name}"
    assert "systems.<target>.image" in error.hint


def test_an_engine_that_fails_is_quoted(engines: Path) -> None:
    """The engine's last line is in the message, beside what one that works says."""
    write_script(engines / "podman", "echo 'warning' >&2; echo 'Error: cannot set up namespace' >&2; exit 125")
    error = refusal(SPEC)
    write_script(engines / "docker", "echo 'Error: No such image: some/image' >&2; exit 1")
    other = refusal(SPEC)

    assert error.message == "podman does not work here: Error: cannot set up namespace"
    assert "podman run" in error.hint
    told = "asked: docker; podman: Error: cannot set up namespace"
    assert other.message == f"image some/image is not on this host ({told})"
    assert other.hint.startswith("docker pull some/image")


def test_an_engine_that_answers_rubbish_is_refused(engines: Path) -> None:
    """What is no description of an image ends in an error of ours."""
    write_script(engines / "podman", "echo '[]'")

    assert "podman image inspect some/image answers something else" in refusal(SPEC).message


def test_an_engine_that_starts_no_container_is_quoted(engines: Path, tmp_path: Path) -> None:
    """It has the image, but cannot run it."""
    write_script(
        engines / "podman",
        """[ "$1" = image ] && echo '[{"Id": "1"}]' && exit; echo 'Error: no cgroups' >&2; exit 126""",
    )

    assert refusal(replace(SPEC, scratch=tmp_path)).message == "podman does not work here: Error: no cgroups"


@pytest.mark.container
@pytest.mark.slow
def test_an_image_that_is_not_there_is_not_fetched(podman: Podman, tmp_path: Path) -> None:
    """The message names image and engine; the hint has the command that brings it."""
    error = refusal(replace(podman.spec(tmp_path), image="registry.invalid/absent:1"))

    assert error.message.startswith("image registry.invalid/absent:1 is not on this host (asked: podman")
    assert error.hint.startswith("podman pull registry.invalid/absent:1")


@pytest.mark.container
@pytest.mark.slow
def test_an_image_without_the_targets_python_says_where_it_was_sought(podman: Podman, tmp_path: Path) -> None:
    """An image of the wrong release has another Python."""
    error = refusal(podman.spec(tmp_path, known_target(f"debian-13-{TARGET.arch}")))

    assert "has no Python 3.13: none of /usr/bin/python3.13, /opt/python/cp313-cp313/bin/" in error.message


@pytest.mark.container
@pytest.mark.slow
def test_an_image_for_newer_systems_or_other_machines_is_refused(podman: Podman, tmp_path: Path) -> None:
    """What is compiled there would not run on the target: every reason is given."""
    other = replace(TARGET, arch="s390x", glibc=(2, 31))
    error = refusal(podman.spec(tmp_path, other))

    assert [problem.what for problem in error.problems] == [
        f"it is for {TARGET.arch}, not s390x",
        "its glibc is 2.36, newer than 2.31",
    ]


@pytest.mark.container
@pytest.mark.slow
def test_an_image_that_this_host_cannot_run_says_so(podman: Podman, tmp_path: Path) -> None:
    """Its shell is for a machine that no emulator is registered for."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 0x7FF0, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0)
    with tarfile.open(tmp_path / "foreign.tar", "w") as archive:
        entry = tarfile.TarInfo("bin/sh")
        entry.size, entry.mode = len(header), 0o755
        archive.addfile(entry, io.BytesIO(header))
    podman.run("import", "--quiet", str(tmp_path / "foreign.tar"), "localhost/foreign:1")
    error = refusal(replace(podman.spec(tmp_path), image="localhost/foreign:1"))

    assert error.message.startswith("image localhost/foreign:1 is for another architecture than this host's")


@pytest.mark.container
@pytest.mark.slow
def test_an_image_that_changes_under_a_run_is_refused(podman: Podman, tmp_path: Path) -> None:
    """Wheels of one run are never built in two versions of an image."""
    spec = ContainerEnvironment.open(podman.spec(tmp_path)).spec

    assert spec.identity
    assert "is another one than when this run began" in refusal(replace(spec, identity="0" * 64)).message


@pytest.mark.container
@pytest.mark.slow
def test_the_images_own_variables_and_tools_are_kept(podman: Podman, tmp_path: Path) -> None:
    """Images of compilers say by variables where those are; the venv comes first all the same."""
    room = room_of(ContainerEnvironment.open(podman.spec(tmp_path / "scratch")), tmp_path / "root")

    assert room.shell('echo "$TOOLS"') == VARIABLES["TOOLS"]
    assert room.shell('echo "$PATH"') == f"/build/venv/bin:{VARIABLES['PATH']}"


@pytest.mark.container
@pytest.mark.slow
def test_the_python_of_a_manylinux_image_is_found(podman: Podman, tmp_path: Path) -> None:
    """It is not where the target has its own, and its venv works all the same."""
    elsewhere = Python(full_version=TARGET.python.full_version, executable="/elsewhere/python3")
    spec = podman.spec(tmp_path / "scratch", replace(TARGET, python=elsewhere))
    room = room_of(ContainerEnvironment.open(spec), tmp_path / "root")

    assert room.shell("python -V") == f"Python {TARGET.python.full_version}"


@pytest.mark.container
@pytest.mark.slow
def test_the_processes_of_a_build_share_its_memory_and_cpus(podman: Podman, tmp_path: Path) -> None:
    """Where cgroups can be set, the limits hold for all processes together, and the description says so."""
    environment = ContainerEnvironment.open(podman.spec(tmp_path / "scratch"))
    room = room_of(environment, tmp_path / "root")
    limits = Limits(memory=2048)
    files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
    seen = room.shell(f"cat {files} 2>/dev/null || true", limits)

    held = "memory of all processes of a build together" not in environment.describe()
    assert held == (seen == str(limits.data_bytes))


TOGETHER = "memory of all processes of a build together"
#: Engines that can do less, in front of the real one: what they refuse or ignore, and what is then not isolated.
LESSER = {
    "no-cpus": ("case $* in *--cpus=*) echo 'cpu is not available' >&2; exit 126 ;; esac", {"number of CPUs"}),
    "no-limits": (
        "case $* in *--memory=*) echo 'memory is not available' >&2; exit 126 ;; esac",
        {"number of CPUs", TOGETHER},
    ),
    "no-cgroups": (
        "case $* in run*--cgroups=disabled*) ;; run*) echo 'cannot make a cgroup' >&2; exit 126 ;; esac",
        {"number of CPUs", TOGETHER},
    ),
    "ignored": (
        'for word; do shift; case $word in --memory*) ;; *) set -- "$@" "$word" ;; esac; done',
        {TOGETHER},
    ),
}


@pytest.mark.container
@pytest.mark.slow
@pytest.mark.parametrize("lesser", LESSER)
def test_what_an_engine_cannot_limit_is_said(
    podman: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lesser: str
) -> None:
    """Builds run where cgroups cannot be set, or not all of them, and the description names what is open."""
    before = set(ContainerEnvironment.open(podman.spec(tmp_path)).describe())
    rule, said = LESSER[lesser]
    place = tmp_path / "lesser"
    place.mkdir()
    write_script(place / "podman", f'{rule}\nexec {podman.bin / "podman"} "$@"')
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    environment = ContainerEnvironment.open(podman.spec(tmp_path / "scratch"))

    assert set(environment.describe()) == before | said
    assert room_of(environment, tmp_path / "root").shell("python -c 'print(6 * 7)'") == "42"


@pytest.mark.container
@pytest.mark.slow
def test_docker_is_taken_where_podman_does_not_have_the_image(
    podman: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first engine that has the image serves; docker's command line does the same."""
    monkeypatch.setenv("PATH", docker_of(podman, tmp_path / "docker").path)
    environment = ContainerEnvironment.open(podman.spec(tmp_path / "scratch"))
    room = room_of(environment, tmp_path / 'a root, with "odd" letters')
    room.shell("umask >out/umask; id -u >out/id")

    assert (room.workspace.output / "umask").read_text() == "0022\n"
    assert (room.workspace.output / "id").read_text() == f"{os.geteuid()}\n"
    assert (room.workspace.output / "id").stat().st_uid == os.geteuid()
