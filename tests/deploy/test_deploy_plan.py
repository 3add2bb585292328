"""What a plan says, worked out from what hosts said of themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bundler.deploy.plan import Incoming, Look, Plan, make_plan
from bundler.errors import HostKeyRefused, HostUnreachable, PlanRefused
from bundler.model.contents import BlobEntry, Contents, FileEntry, TargetEntry, VolumeEntry
from bundler.model.site import Admit, Gates, RepoHost, Site
from bundler.repohost.port import HostBlobs, HostFacts, HostRelease, Seen

DEBIAN, UBUNTU = "debian-12-x86_64", "ubuntu-24.04-x86_64"
SHARED, NATIVE, END = "a" * 64, "b" * 64, "c" * 64
DIGEST = "d" * 64


def contents(sequence: int = 20) -> Contents:
    files = tuple(
        FileEntry(path=path, size=size, sha256="0" * 64, mode=0o644, targets=targets, blobs=blobs)
        for path, size, targets, blobs in (
            ("wheels/one.whl", 5000, (DEBIAN, UBUNTU), (SHARED,)),
            ("venvs/one.tar.zst", 5000 + 3000 + 10, (DEBIAN,), (SHARED, NATIVE, END)),
        )
    )
    blobs = tuple(
        BlobEntry(sha256=digest, size=size, offset=0, length=1)
        for digest, size in ((SHARED, 5000), (NATIVE, 3000), (END, 10))
    )
    return Contents(
        name="demo",
        version="1",
        sequence=sequence,
        floor=0,
        created=1,
        tool="t",
        targets=tuple(
            TargetEntry(name=name, distro="d", version="1", arch="x86_64", python="3.11", glibc="2.36")
            for name in (DEBIAN, UBUNTU)
        ),
        files=files,
        links=(),
        volumes=(VolumeEntry(name="common-001.tar.zst", target="", size=1, blobs=blobs),),
        venvs=(),
    )


def facts(**changes: Any) -> HostFacts:
    return HostFacts(**{"system": DEBIAN, "free": 10**10, "inodes": 10**6, "trust": 1, **changes})


def release(sequence: int = 20, state: Any = "active", digest: str = DIGEST, **changes: Any) -> HostRelease:
    values = {"id": f"demo-1-{sequence}", "line": "demo-1", "sequence": sequence, "targets": (DEBIAN, UBUNTU)}
    return HostRelease(**{**values, "digest": digest, "state": state, **changes})


def host(name: str = "one", **changes: Any) -> RepoHost:
    return RepoHost(name=name, **changes)


def look(of: RepoHost | None = None, blobs: HostBlobs | None = None, **changes: Any) -> Look:
    return Look(host=of or host(), facts=facts(**changes), blobs=blobs or HostBlobs())


def planned(*looks: Look, site: Site | None = None) -> Plan:
    hosts = tuple(one.host for one in looks)
    return make_plan(
        Incoming(contents=contents(), digest=DIGEST), looks, replace(site or Site(name="here"), repo_hosts=hosts)
    )


def test_an_empty_host_is_sent_all_blobs_of_its_targets() -> None:
    """A host that has nothing is sent every blob once, however many files use it."""
    plan = planned(look())

    found = plan.hosts[0]

    assert (found.send, found.have, found.missing, found.files) == (8010, 0, 3, 2)
    assert found.targets == (DEBIAN, UBUNTU)


def test_only_blobs_of_a_hosts_own_targets_are_sent() -> None:
    """A host with one target is not sent what other targets need."""
    plan = planned(look(host(targets=(UBUNTU,))))

    assert (plan.hosts[0].send, plan.hosts[0].files) == (5000, 1)


def test_what_a_host_has_is_not_sent_again() -> None:
    """Complete blobs are left out, a cut one goes on at its offset."""
    plan = planned(look(blobs=HostBlobs(complete={SHARED: 5000}, partial={NATIVE: 1000})))

    found = plan.hosts[0]

    assert (found.send, found.have, found.resume) == (2010, 5000, 1000)


@pytest.mark.parametrize("admit", [None, Admit(user="admit")])
def test_in_separate_hands_what_is_pushed_is_counted_twice(admit: Admit | None) -> None:
    """The admitting login copies what the other one pushed, now or before a cut; otherwise it is moved."""
    archive = 8010 + 4096
    fresh = planned(look(host(admit=admit))).hosts[0]
    blobs = HostBlobs(complete={SHARED: 5000, NATIVE: 3000}, partial={END: 4}, inbox=frozenset({NATIVE}))
    pushed = planned(look(host(admit=admit), blobs=blobs)).hosts[0]

    assert fresh.needed == archive + 8010 + 3 * 4096 + (8010 + 3 * 4096 if admit else 0)
    assert pushed.needed == archive + 6 + 4096 + (3010 + 2 * 4096 if admit else 0)
    assert (fresh.copied, pushed.copied) == ((3, 2) if admit else (0, 0))


def test_a_host_that_has_the_release_proved_is_sent_nothing() -> None:
    """A staged release of the same digest is only activated."""
    plan = planned(look(releases=(release(state="staged"), release(10))))

    found = plan.hosts[0]

    assert (found.send, found.needed, found.ready, found.current, found.active) == (0, 0, True, False, "demo-1-10")


def test_a_host_that_serves_the_release_is_up_to_date() -> None:
    """An active release of the same digest needs nothing at all."""
    plan = planned(look(releases=(release(),), seen={"demo-1": Seen(epoch=0, sequence=20, digest=DIGEST)}))

    assert plan.hosts[0].current
    assert not plan.problems


def test_a_release_for_fewer_targets_is_not_ready() -> None:
    """A host that was given another target since has to get the rest."""
    plan = planned(look(releases=(release(targets=(DEBIAN,)),)))

    assert not plan.hosts[0].ready


def test_all_problems_of_all_hosts_are_told_at_once() -> None:
    """A plan lists what is wrong on every host, before anything is touched."""
    hosts = [
        host(name, targets=(DEBIAN,)) for name in ("full", "foreign", "ahead", "busy", "readonly", "other", "key")
    ]
    full, foreign, ahead, busy, readonly, other, key = hosts
    plan = planned(
        look(full, free=1000),
        look(foreign, foreign=("lost+found", "venvs")),
        look(ahead, seen={"demo-1": Seen(epoch=0, sequence=21, digest="e" * 64)}),
        look(busy, holder="process 5 on repo2"),
        look(readonly, writable=False),
        look(replace(other, targets=("rocky-9-x86_64",))),
        Look(host=key, error=HostKeyRefused("no key is pinned")),
    )

    with pytest.raises(PlanRefused) as refused:
        plan.require_possible()

    assert [problem.where for problem in refused.value.problems] == [one.name for one in hosts]
    assert "7 of 7 hosts" in refused.value.message


def test_too_few_inodes_are_a_problem() -> None:
    """Space in bytes is not enough: files need inodes too."""
    plan = planned(look(inodes=20))

    assert "too few inodes" in plan.problems[0].what


def test_another_bundle_of_the_same_sequence_at_a_host_is_a_problem() -> None:
    """A host that admitted other content under the same number refuses before anything is sent."""
    plan = planned(look(seen={"demo-1": Seen(epoch=0, sequence=20, digest="e" * 64)}))

    assert "another bundle with sequence 20" in plan.problems[0].what


def test_a_new_epoch_lets_lower_sequences_in() -> None:
    """Sequences are compared within an epoch: the trust document may have begun a new one."""
    incoming = Incoming(contents=contents(), digest=DIGEST, epoch=1)

    plan = make_plan(
        incoming, [look(seen={"demo-1": Seen(epoch=0, sequence=99, digest="e" * 64)})], Site(name="here")
    )

    assert not plan.problems


def test_a_separate_host_without_trust_is_a_problem() -> None:
    """Where the pushing user may not bring trust, somebody has to have put it there."""
    plan = planned(look(host(admit=Admit(user="admit")), trust=0))

    assert "trust" in plan.problems[0].what


def test_a_host_that_does_not_answer_is_no_problem_of_the_plan() -> None:
    """A dead host counts as failed: the others are planned for."""
    dead = Look(host=host("dead"), error=HostUnreachable("no answer"))
    plan = planned(look(), dead, site=Site(name="here", gates=Gates(max_failed=1)))

    plan.require_possible()
    plan.require_reachable()

    assert [one.host for one in plan.unreachable] == ["dead"]


def test_more_dead_hosts_than_the_gate_allows_are_told() -> None:
    """`plan` says beforehand that apply would activate nothing."""
    plan = planned(look(), Look(host=host("dead"), error=HostUnreachable("no answer")))

    with pytest.raises(HostUnreachable, match="1 of 2 hosts"):
        plan.require_reachable()


def test_of_hosts_with_a_shared_root_the_first_that_answers_writes() -> None:
    """One writer per group; the others are sent nothing."""
    dead = Look(host=host("a", shared_root="gluster"), error=HostUnreachable("no answer"))
    plan = planned(dead, look(host("b", shared_root="gluster")), look(host("c", shared_root="gluster")), look(host()))

    found = {one.host: (one.writer, one.send) for one in plan.hosts if not one.unreachable}

    assert found == {"b": ("", 8010), "c": ("b", 0), "one": ("", 8010)}


def test_the_plan_names_what_retention_removes() -> None:
    """Releases beyond retention are in the plan; what is active now becomes the previous one and stays."""
    old = tuple(release(number, "staged") for number in (11, 12, 13))
    plan = planned(look(releases=(*old, release(10), release(9, "previous"))))

    assert plan.hosts[0].pruned == ("demo-1-9", "demo-1-11")
