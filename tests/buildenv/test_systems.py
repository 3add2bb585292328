"""What is missing here for targets of other systems, said before anything is made."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.buildenv import apt, emulation
from bundler.buildenv.host_target import host_target
from bundler.buildenv.recipe import Archive
from bundler.buildenv.systems import Systems, SystemsRequest
from bundler.errors import BuildEnvironmentError
from bundler.model.manifest import System
from bundler.model.target import known_target
from bundler.store.cas import Store

NATIVE = known_target(f"debian-13-{platform.machine()}")
FOREIGN = known_target(f"debian-12-{'aarch64' if platform.machine() == 'x86_64' else 'x86_64'}")
NOBLE = known_target(f"ubuntu-24.04-{platform.machine()}")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Give a PATH that has nothing but what the test puts there, and an apt that knows Debian."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    archive = Archive(uri="http://mirror.test/", origin="Debian", suite="bookworm", component="main")
    monkeypatch.setattr(apt, "known_archives", lambda: (archive,))
    monkeypatch.setattr(apt, "reaching_options", lambda: ())

    def put(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return put


@pytest.fixture
def made(tmp_path: Path) -> Systems:
    return Systems(SystemsRequest(host=host_target(), environment="rootfs"), Store(tmp_path / "store"))


def test_missing_tools_are_named_with_what_installs_them(tools: Callable[[str, str], None], made: Systems) -> None:
    """Neither mmdebstrap nor bubblewrap: both at once, each with its command."""
    found = {problem.where: problem for problem in made.problems([NATIVE])}

    assert set(found) == {"mmdebstrap", "bubblewrap"}
    assert all("apt-get install" in problem.hint for problem in found.values())


def test_user_namespaces_that_are_forbidden_are_told_from_a_missing_bubblewrap(
    tools: Callable[[str, str], None], made: Systems
) -> None:
    """What bubblewrap says is in the message; the hint names the setting."""
    tools("mmdebstrap", "exit 0")
    tools("bwrap", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    (problem,) = made.problems([NATIVE])

    assert "No permissions to create new namespace" in problem.what
    assert "sysctl" in problem.hint


def test_every_target_that_cannot_be_made_is_named(
    tools: Callable[[str, str], None], made: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No emulator for one, no mirror for the other, in one go."""
    tools("mmdebstrap", "exit 0")
    tools("bwrap", "exit 0")
    tools("arch-test", "exit 0")
    monkeypatch.setattr(emulation, "why_not", lambda _target: ("qemu is not registered", "register it"))
    found = {problem.where: problem.what for problem in made.problems([NATIVE, FOREIGN, NOBLE])}

    assert found == {
        f"targets: {FOREIGN.name}": "qemu is not registered",
        f"targets: {NOBLE.name}": f"this host's apt knows no mirror of ubuntu for {NOBLE.name}",
    }


def test_what_mmdebstrap_asks_for_foreign_systems_is_named(
    tools: Callable[[str, str], None], made: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's mmdebstrap only recommends arch-test, and makes no foreign system without it."""
    tools("mmdebstrap", "exit 0")
    tools("bwrap", "exit 0")
    monkeypatch.setattr(emulation, "why_not", lambda _target: None)
    (problem,) = made.problems([NATIVE, FOREIGN])

    assert "arch-test is not installed" in problem.what
    assert problem.hint == "apt-get install arch-test"


def test_an_environment_is_refused_before_anything_is_made(
    tools: Callable[[str, str], None], made: Systems, tmp_path: Path
) -> None:
    """Asking a source for its metadata, while locking, says the same as a build would."""
    with pytest.raises(BuildEnvironmentError, match="none can be made here") as caught:
        made.environment(NATIVE)

    assert {problem.where for problem in caught.value.problems} == {"mmdebstrap", "bubblewrap"}
    assert not (tmp_path / "store" / "rootfs").exists()


def test_a_host_needs_none_of_it_for_itself(tools: Callable[[str, str], None], tmp_path: Path) -> None:
    """With auto, this host's own target asks for nothing."""
    own = host_target()
    found = Systems(SystemsRequest(host=own), Store(tmp_path / "store"))

    assert not list(found.problems([own]))
    assert found.runtime(own, ()).is_host


def test_what_every_host_has_anyway_counts_as_there(tmp_path: Path) -> None:
    """Packages of the system in the manifest are in the list that venvs are held against, here as well."""
    own = host_target()
    manifest = {"debian": System(packages=("ca-certificates",)), own.distro: System(packages=("ca-certificates",))}
    found = Systems(SystemsRequest(host=own, systems=manifest), Store(tmp_path / "store"))

    assert found.runtime(own, ("libldap2",)).packages == ("ca-certificates", "libldap2")
