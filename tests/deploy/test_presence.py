"""Why a package is not on a host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bundler.deploy.presence import Presence, near_names, presence, uses_of
from bundler.model.contents import Contents, PackageEntry, ProofEntry, VenvEntry
from bundler.repohost.port import HostFacts, HostRelease

DEBIAN, UBUNTU = "debian-12-x86_64", "ubuntu-24.04-x86_64"


def contents(sequence: int, packages: Mapping[tuple[str, str], tuple[str, ...]]) -> Contents:
    venvs = tuple(
        VenvEntry(
            name=venv,
            target=target,
            python="3.11",
            install_path=f"/v/{venv}",
            archive="a",
            packages=tuple(
                PackageEntry(name=name, version="1", wheel="w", wheel_sha256="0", layers=(), kind="wheel")
                for name in names
            ),
            console_scripts=(),
            proof=ProofEntry(level="host", passed=True, checks=1),
        )
        for (venv, target), names in packages.items()
    )
    values: dict[str, Any] = {"files": (), "links": (), "volumes": (), "targets": (), "tool": "t", "created": 1}
    return Contents(name="demo", version="1", sequence=sequence, floor=0, venvs=venvs, **values)


OLD = contents(1, {("nova", DEBIAN): ("six",), ("web", DEBIAN): ("flask",)})
NEW = contents(2, {("nova", DEBIAN): ("six", "oslo.config"), ("nova", UBUNTU): ("six", "winloop")})
ALL = {one.id: one for one in (OLD, NEW)}


def ask(package: str, venv: str = "", **states: Any) -> Presence:
    releases = tuple(
        HostRelease(
            id=one.id, line="demo-1", sequence=one.sequence, digest="d", targets=(DEBIAN,), state=states[name]
        )
        for name, one in (("old", OLD), ("new", NEW))
        if name in states
    )
    facts = HostFacts(system="", free=1, inodes=1, releases=releases)
    return presence("one", facts, uses_of(package, ALL.values()), ALL, venv)


def test_a_served_package_needs_no_reason() -> None:
    """Names are compared as PEP 503 says."""
    assert ask("Oslo_Config", new="active").serves == (NEW.id,)


def test_a_package_of_a_staged_release_waits_for_its_activation() -> None:
    """A release that is proved and not active says so."""
    found = ask("oslo.config", new="staged", old="active")

    assert found.serves == ()
    assert found.reasons == (
        f"it serves {OLD.id}, and that has it in no venv",
        f"{NEW.id} has it; that is there, proved and not activated",
    )


def test_a_host_on_the_older_release_has_not_got_the_newer() -> None:
    """A release that never came is named."""
    assert ask("oslo.config", old="active").reasons[1] == f"{NEW.id} has it, and has not come to this host"


def test_a_package_that_an_update_dropped_was_there_before() -> None:
    """What only the previous release has is named with it."""
    assert ask("flask", new="active", old="previous").reasons[1] == f"{OLD.id} has it; that was active before"


def test_a_package_of_another_target_is_not_for_this_host() -> None:
    """The targets on both sides are named."""
    found = ask("winloop", new="active")

    assert found.reasons == (f"{NEW.id} has it for {UBUNTU}, the host holds {DEBIAN}",)


def test_a_package_of_another_venv_is_named_with_it() -> None:
    """Asked for one venv, the answer says in which it is."""
    assert ask("six", "web", new="active").reasons[0] == f"in {NEW.id} it is in nova, not in web"


def test_a_host_without_releases_says_that() -> None:
    """An empty host serves nothing."""
    assert ask("six").reasons[0] == "it serves no release at all"


def test_names_that_look_alike_are_offered() -> None:
    """A wrong spelling finds the right one."""
    assert near_names("oslo-confg", ALL.values()) == ("oslo.config",)
