"""Names that several lines bring: the index of a target, upper constraints. The line activated last has them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bundler.errors import HostRefused
from bundler.repohost.releases import activate, check, deactivate, prune, restore, rollback
from tests.repohost.handmade import Host, Made

INDEX, ALL, CACHED = "simple/debian-12-x86_64", "simple/all", "constraints/upper_constraints_cached.txt"


def release(line: str, sequence: int, upper: str = "2026.1") -> Made:
    """Return a release with an index of its own, and the links that lead to it."""
    top = f"os-releases/{line}"
    text = f"{line} {sequence}".encode()
    return Made(
        f"{line}-1-{sequence}",
        {
            f"{top}/debian-12-x86_64/simple/index.html": b"target " + text,
            f"{top}/debian-12-x86_64/wheels/{line}-{sequence}.whl": text,
            f"{top}/simple/index.html": b"all " + text,
            f"constraints/upper_constraints_{upper}.txt": text,
        },
        {
            f"{top}/debian-12-x86_64/simple/_wheels": "../wheels",
            f"{top}/simple/_debian-12-x86_64": "../debian-12-x86_64/wheels",
            INDEX: f"../{top}/debian-12-x86_64/simple",
            ALL: f"../{top}/simple",
            CACHED: f"upper_constraints_{upper}.txt",
        },
    )


CLOUD, CLOUD_TWO, TOOLS = release("cloud", 1), release("cloud", 2), release("tools", 1)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path / "a repo's root")
    for one in (CLOUD, CLOUD_TWO, TOOLS):
        made.add(one)
    return made


def leads(host: Host) -> tuple[bytes, bytes, bytes]:
    """Return what a client gets under the three names."""
    paths = (f"{INDEX}/index.html", f"{ALL}/index.html", CACHED)
    found = [(host.root / path).read_bytes() for path in paths]
    return found[0], found[1], found[2]


def of(made: Made) -> tuple[bytes, bytes, bytes]:
    line, sequence = made.line.removesuffix("-1"), made.id.rpartition("-")[2]
    text = f"{line} {sequence}".encode()
    return b"target " + text, b"all " + text, text


def test_wheels_are_reached_through_every_name(host: Host) -> None:
    """What a page of an index refers to is there under the release's own name and under the short one."""
    with host.wire() as wire:
        activate(wire, CLOUD.id)

    for name in (INDEX, "os-releases/cloud/debian-12-x86_64/simple"):
        assert (host.root / name / "_wheels/cloud-1.whl").read_bytes() == b"cloud 1"
    assert (host.root / ALL / "_debian-12-x86_64/cloud-1.whl").read_bytes() == b"cloud 1"


def test_the_line_activated_last_leads(host: Host) -> None:
    """Whatever was activated last has the names, also after a rollback, and nothing of it is drift."""
    seen = []
    with host.wire() as wire:
        for step in (
            lambda: activate(wire, CLOUD.id),
            lambda: activate(wire, TOOLS.id),
            lambda: activate(wire, CLOUD_TWO.id),
            lambda: rollback(wire, "cloud-1", CLOUD.id),
        ):
            step()
            seen.append(leads(host))
            assert check(wire) == ()

    assert seen == [of(CLOUD), of(TOOLS), of(CLOUD_TWO), of(CLOUD)]
    assert (host.root / "os-releases/tools/debian-12-x86_64/simple/index.html").read_bytes() == b"target tools 1"


def test_the_names_fall_back_when_a_line_goes(host: Host) -> None:
    """After the leading line is deactivated and pruned the other one has the names again."""
    with host.wire() as wire:
        activate(wire, CLOUD.id)
        activate(wire, TOOLS.id)
        deactivate(wire, "tools-1", TOOLS.id)
        prune(wire, [TOOLS.id])

        assert leads(host) == of(CLOUD)
        assert check(wire) == ()


@pytest.mark.parametrize("path", [INDEX, CACHED, "constraints/upper_constraints_2026.1.txt"])
def test_a_lost_name_is_found_and_mended(host: Host, path: str) -> None:
    """A name that leads elsewhere is drift, named as such; mending either release gives it back to the right one."""
    with host.wire() as wire:
        activate(wire, TOOLS.id)
        activate(wire, CLOUD.id)
        (host.root / path).unlink()
        (host.root / path).symlink_to("../os-releases/tools/debian-12-x86_64/simple")
        before = [(one.kind, one.path) for one in check(wire)]
        restore(wire, TOOLS.id)

        assert before == [("link", path)]
        assert leads(host) == of(CLOUD)
        assert check(wire) == ()


def test_the_link_that_a_role_makes_is_no_drift(host: Host) -> None:
    """OpenStack-Ansible makes the same link with an absolute path; one to another file is ours, changed."""
    with host.wire() as wire:
        activate(wire, CLOUD.id)
        link = host.root / CACHED
        link.unlink()
        link.symlink_to("/var/www/repo/constraints/upper_constraints_2026.1.txt")
        same = check(wire)
        link.unlink()
        link.symlink_to("/var/www/repo/constraints/upper_constraints_other.txt")

        assert same == ()
        assert [(one.kind, one.path) for one in check(wire)] == [("link", CACHED)]


def test_other_names_are_still_one_line_s(host: Host) -> None:
    """Below os-releases two lines with one path and other content stay refused."""
    path = "os-releases/cloud/simple/index.html"
    other = host.add(Made("other-1-1", {path: b"other"}))
    with host.wire() as wire:
        activate(wire, CLOUD.id)

        with pytest.raises(HostRefused, match=path):
            activate(wire, other.id)


def test_stock_tools_read_the_links(host: Host, tmp_path: Path) -> None:
    """What is served can be copied, links to directories and all, by cp and by tar that follow them."""
    with host.wire() as wire:
        activate(wire, CLOUD.id)
    copied = tmp_path / "copied"
    subprocess.run(["cp", "-rL", host.root / "simple", copied], check=True)
    listed = subprocess.run(["tar", "-chf", "-", "-C", host.root, "simple"], check=True, capture_output=True)
    names = subprocess.run(["tar", "-t"], input=listed.stdout, check=True, capture_output=True, text=False).stdout

    assert (copied / "debian-12-x86_64/_wheels/cloud-1.whl").read_bytes() == b"cloud 1"
    assert b"simple/all/_debian-12-x86_64/cloud-1.whl" in names
