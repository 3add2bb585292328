"""Who serves another release than its peers."""

from __future__ import annotations

from bundler.deploy.peers import astray
from bundler.model.site import RepoHost
from bundler.repohost.port import HostFacts, HostRelease, ReleaseState


def serving(name: str, *active: str, targets: tuple[str, ...] = (), staged: str = "") -> tuple[RepoHost, HostFacts]:
    """Return a host that serves these releases, and has another one staged."""
    states: dict[str, ReleaseState] = dict.fromkeys(active, "active")
    if staged:
        states[staged] = "staged"
    releases = tuple(
        HostRelease(id=one, line=one.rpartition("-")[0], sequence=int(one[-1]), digest="", targets=(), state=state)
        for one, state in states.items()
    )
    return RepoHost(name=name, targets=targets), HostFacts(system="", free=1, inodes=1, releases=releases)


def test_hosts_that_agree_are_not_named() -> None:
    """With one release, or none, on all of them there is nothing to say."""
    assert astray([serving("a", "x-1-1"), serving("b", "x-1-1")]) == {}
    assert astray([serving("a", staged="x-1-1"), serving("b")]) == {}
    assert astray([]) == {}


def test_the_few_are_named_with_what_the_many_serve() -> None:
    """Whether it serves an older release, a newer one, or nothing of the line."""
    found = astray([serving("a", "x-1-2"), serving("b", "x-1-2"), serving("c", "x-1-1"), serving("d")])

    assert {host: [(one.line, one.active) for one in odd] for host, odd in found.items()} == {
        "c": [("x-1", "x-1-1")],
        "d": [("x-1", "")],
    }
    assert found["c"][0].peers == (("x-1-2", 2), ("", 1))


def test_where_nobody_has_the_most_all_are_named() -> None:
    """Two hosts that differ are both told of: which is right, a person knows."""
    assert set(astray([serving("a", "x-1-2"), serving("b", "x-1-1")])) == {"a", "b"}


def test_lines_are_compared_one_by_one() -> None:
    """A host may be like its peers in one line and not in another."""
    found = astray([serving("a", "x-1-1", "y-1-1"), serving("b", "x-1-1", "y-1-1"), serving("c", "x-1-1", "y-1-2")])

    assert {host: [one.line for one in odd] for host, odd in found.items()} == {"c": ["y-1"]}


def test_hosts_of_other_targets_are_no_peers() -> None:
    """Hosts that the site gives different targets may have different releases."""
    found = astray(
        [
            serving("a", "x-1-1", targets=("debian-12-x86_64",)),
            serving("b", "x-1-2", targets=("ubuntu-24.04-x86_64",)),
        ]
    )

    assert found == {}
