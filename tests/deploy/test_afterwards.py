"""Looking after what was applied: status, check, repair, rollback, prune, why."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import require_all
from bundler.errors import DriftFound, HostUnreachable, SequenceRefused, UsageError
from bundler.events import Event, Warned
from bundler.workflows.site.check import CheckRequest, check
from bundler.workflows.site.prune import PruneRequest, plan_prune, prune
from bundler.workflows.site.repair import RepairRequest, repair
from bundler.workflows.site.rollback import RollbackRequest, rollback
from bundler.workflows.site.status import status
from bundler.workflows.site.why import WhyRequest, why
from tests.bundles import Sample
from tests.deploy.scene import LINE, Scene

DEAD = {"name": "dead", "address": "127.0.0.1", "port": 9, "root": "/nowhere"}


def wheel(scene: Scene, name: str) -> Path:
    return next((scene.root(name) / "os-releases").glob("*/*/wheels/pure*"))


def test_status_says_what_is_active_and_previous(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """Hosts that answer are shown beside one that does not."""
    scene.site(scene.local("a"), DEAD)

    found = status(scene.places)

    here, dead = found.hosts
    assert {(one.id, one.state) for one in here.get().releases} == {
        (f"{LINE}-1", "previous"),
        (f"{LINE}-2", "active"),
    }
    assert isinstance(dead.error, HostUnreachable)
    with pytest.raises(HostUnreachable):
        require_all(found.hosts, "looking")


def test_status_marks_a_host_that_is_not_like_its_peers(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """One of three that serves another release than the other two is named, with what they serve; else nobody is."""
    scene.site(scene.local("a"), scene.local("b"), scene.local("c"))
    scene.apply(scene.stick / f"{LINE}-2")
    before = status(scene.places).astray

    rollback(RollbackRequest(places=scene.places, hosts=("b",))).require_success()
    found = status(scene.places).astray

    assert before == {}
    assert {host: [(one.line, one.active, one.peers) for one in odd] for host, odd in found.items()} == {
        "b": [(LINE, f"{LINE}-1", ((f"{LINE}-2", 2),))]
    }


def test_check_names_what_differs(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """A changed file is found by name on the one host that has it, and status remembers that."""
    path = wheel(scene, "b")
    path.write_bytes(b"changed")

    found = check(CheckRequest(places=scene.places))

    assert found.answers[0].get() == ()
    assert str(path.relative_to(scene.root("b"))) in {one.path for one in found.answers[1].get()}
    with pytest.raises(DriftFound):
        found.require_clean()
    assert status(scene.places).checks["b"].differences >= 1


@pytest.mark.parametrize("source", ["copy", "host", "medium"])
def test_repair_puts_back_what_was_signed(scene: Scene, applied: tuple[Sample, Sample], source: str) -> None:
    """Bytes come from the copy here, else from another host, else from the medium that is named."""
    path = wheel(scene, "b")
    path.write_bytes(b"changed")
    if source != "copy":
        for directory in scene.places.staging.iterdir():
            directory.rename(scene.base / directory.name)
    if source == "medium":
        scene.site(scene.local("b"))
    media = (scene.stick / f"{LINE}-2",) if source == "medium" else ()

    found = repair(RepairRequest(places=scene.places, media=media))

    found.require_success()
    assert scene.serves("b", applied[1])
    assert 0 < next(one.get().sent for one in found.answers if one.host.name == "b") < 10_000
    check(CheckRequest(places=scene.places)).require_clean()


def test_one_host_is_mended_from_another_one(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """With neither copy nor medium a named host gets what it lacks from another one, which is not touched."""
    wheel(scene, "b").write_bytes(b"changed")
    for directory in scene.places.staging.iterdir():
        directory.rename(scene.base / directory.name)
    scene.stick.rename(scene.base / "away")
    before = (scene.root("a") / ".bundles" / "active").readlink()

    found = repair(RepairRequest(places=scene.places, hosts=("b",)))

    found.require_success()
    assert [(one.host.name, one.get().sent > 0) for one in found.answers] == [("b", True)]
    assert scene.serves("b", applied[1])
    assert (scene.root("a") / ".bundles" / "active").readlink() == before


def test_repair_leaves_sound_hosts_alone(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """Nothing is sent to, or switched on, a host that is as it was signed."""
    before = (scene.root("a") / ".bundles" / "active").readlink()

    found = repair(RepairRequest(places=scene.places))

    assert [(one.get().differences, one.get().sent) for one in found.answers] == [(0, 0), (0, 0)]
    assert (scene.root("a") / ".bundles" / "active").readlink() == before


def test_rollback_needs_no_medium(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """All hosts serve the previous release again, though stick and copies are gone; apply goes forward again."""
    scene.stick.rename(scene.base / "away")

    found = rollback(RollbackRequest(places=scene.places))

    found.require_success()
    assert scene.serves("a", applied[0])
    assert scene.serves("b", applied[0])
    (scene.base / "away").rename(scene.stick)
    again = scene.apply(scene.stick / f"{LINE}-2")
    assert [(one.state, one.sent) for one in again.outcomes] == [("activated", 0)] * 2


def test_rollback_does_not_wait_for_dead_hosts(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """A host that does not answer is told of; the others go back."""
    scene.site(scene.local("a"), DEAD)

    found = rollback(RollbackRequest(places=scene.places))

    assert scene.serves("a", applied[0])
    with pytest.raises(HostUnreachable):
        found.require_success()


def test_rollback_below_a_floor_is_refused(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """A floor that trust has raised since shuts the previous release out."""
    scene.trust(2, floors={"demo": 2})
    scene.apply(scene.stick / f"{LINE}-2")

    with pytest.raises(SequenceRefused):
        rollback(RollbackRequest(places=scene.places))

    assert scene.serves("a", applied[1])


def test_prune_keeps_what_is_served_and_pinned(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """Beyond retention releases go from hosts, old copies from here; a dry run only says so."""
    scene.site(scene.local("a"), retention={"keep": 5})
    for sequence in (3, 4):
        scene.apply(scene.bundle(sequence))
    scene.site(scene.local("a"), retention={"keep": 1, "pinned": [f"{LINE}-1"]})
    releases = scene.root("a") / ".bundles" / "releases"

    planned = plan_prune(PruneRequest(places=scene.places))
    before = sorted(path.name for path in releases.iterdir())
    done = prune(PruneRequest(places=scene.places), lambda _: True)

    assert planned.hosts[0].get().releases == (f"{LINE}-2",)
    assert before == [f"{LINE}-{number}" for number in (1, 2, 3, 4)]
    assert sorted(path.name for path in releases.iterdir()) == [f"{LINE}-{number}" for number in (1, 3, 4)]
    assert done.hosts[0].get().size > 0
    assert len(list(scene.places.staging.iterdir())) == 1


def test_what_was_pruned_is_in_the_log(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """Whether apply's retention or prune removes releases: the audit log has which, from where, how many bytes."""
    scene.site(scene.local("a"), scene.local("b"), retention={"keep": 1})
    scene.apply(scene.bundle(3))
    scene.site(scene.local("a"), retention={"keep": 5})
    scene.apply(scene.bundle(4))
    scene.site(scene.local("a"), retention={"keep": 1})

    prune(PruneRequest(places=scene.places), lambda _: True)

    found = [one.facts for one in AuditLog(scene.places.log).records() if one.event == "pruned"]
    assert sorted((one["host"], one["bundles"]) for one in found) == [
        ("a", [f"{LINE}-1"]),
        ("a", [f"{LINE}-2"]),
        ("b", [f"{LINE}-1"]),
    ]
    assert all(one["bytes"] > 0 for one in found)


def test_prune_tells_of_pins_that_hold_nothing(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """A release that retention.pinned names and no host has may be misspelled: that is told before anything goes."""
    scene.site(scene.local("a"), retention={"keep": 1, "pinned": [f"{LINE}-1", f"{LINE}-11"]})
    told: list[Event] = []

    plan_prune(PruneRequest(places=scene.places), told.append)

    assert [one.message for one in told if isinstance(one, Warned)] == [
        f"retention.pinned names {LINE}-11, which no host has"
    ]


def test_why_tells_where_a_package_comes_from(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """Bundle, venv, wheel, layers and signers are named, and the hosts that serve it."""
    found = why(WhyRequest(places=scene.places, package="Pure"))

    first = found.origins[0]
    assert (first.use.release, first.use.package.wheel, first.signers) == (
        f"{LINE}-2",
        "pure-1.0+local-py3-none-any.whl",
        ("alice",),
    )
    assert [(one.host, one.serves) for one in found.hosts] == [("a", (f"{LINE}-2",)), ("b", (f"{LINE}-2",))]


def test_why_of_a_package_that_nothing_has_is_an_answer(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """No release has it: which were looked at, names that look alike, and what each host serves without it."""
    found = why(WhyRequest(places=scene.places, package="puree"))

    assert (found.origins, found.releases, found.near) == ((), (f"{LINE}-1", f"{LINE}-2"), ("pure",))
    assert [(one.host, one.reasons) for one in found.hosts] == [
        (name, (f"it serves {LINE}-2, and that has it in no venv",)) for name in "ab"
    ]


def test_why_in_a_venv_that_there_is_not(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """A venv that no release has is a mistake, not an answer."""
    with pytest.raises(UsageError, match="there is no venv 'nova'"):
        why(WhyRequest(places=scene.places, package="pure", venv="nova"))
