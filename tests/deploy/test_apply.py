"""From a stick to active releases, on repo hosts of this machine: the far end is a real shell."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bundler.deploy.audit import AuditLog
from bundler.deploy.kept import kept_releases
from bundler.deploy.receipts import known_hosts_state
from bundler.deploy.rollout import Rollout
from bundler.deploy.state import hold, read_state
from bundler.errors import Busy, FleetStopped, InterruptedByUser, PartlyApplied, PlanRefused, SequenceRefused
from bundler.events import Event, Warned
from bundler.workflows.site.apply import ApplyRequest, apply
from bundler.workflows.site.plan import PlanRequest, plan
from tests.bundles import DEBIAN, Sample, digest_of, make_sample
from tests.deploy.scene import LINE, Scene, Wires, states


def changed_sample(base: Sample, path_end: str, data: bytes) -> Sample:
    """Return a sample in which one file of one blob has other bytes."""
    files = []
    blobs = dict(base.blobs)
    for file in base.files:
        if file.path.endswith(path_end):
            blobs[digest_of(data)] = data
            files.append(replace(file, size=len(data), sha256=digest_of(data), blobs=(digest_of(data),)))
        else:
            files.append(file)
    used = {blob for file in files for blob in file.blobs}
    return Sample(
        blobs={digest: data for digest, data in blobs.items() if digest in used},
        files=files,
        links=base.links,
        venvs=base.venvs,
    )


def test_three_hosts_serve_a_release(scene: Scene) -> None:
    """One apply takes a bundle from the stick to every repo host; state, log and documents say so."""
    sample = make_sample(1)
    bundle = scene.bundle(1, sample)
    scene.site(*(scene.local(name) for name in ("a", "b", "c")))

    applied = scene.apply(bundle)

    applied.require_success()
    assert states(applied) == {"a": "activated", "b": "activated", "c": "activated"}
    assert all(scene.serves(name, sample) for name in "abc")
    assert read_state(scene.places).seen[LINE].sequence == 1
    assert kept_releases(scene.places) == (f"{LINE}-1",)
    assert [one.event for one in AuditLog(scene.places.log).records()][-3:] == ["activated"] * 3


def test_a_second_apply_sends_next_to_nothing(scene: Scene, wires: Wires) -> None:
    """What a host has is not sent again: less than 100 kB goes out, and the outcome says it is up to date."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"), scene.local("b"))
    scene.apply(bundle)
    wires.sent.clear()

    applied = scene.apply(bundle)

    assert states(applied) == {"a": "up to date", "b": "up to date"}
    assert 0 < wires.sent["a"] < 100_000


def test_an_update_sends_changed_blobs_only(scene: Scene, wires: Wires) -> None:
    """Of a release in which one file differs only that file's blob is sent."""
    sample = make_sample(1)
    scene.site(scene.local("a"))
    scene.apply(scene.bundle(1, sample))
    update = changed_sample(sample, "pylock.keystone.toml", b"# new\n" * 2000)

    applied = scene.apply(scene.bundle(2, update))

    assert applied.outcomes[0].sent == 12_000
    assert scene.serves("a", update)


def test_a_plan_changes_nothing(scene: Scene) -> None:
    """`plan` reads the stick and asks the hosts; neither they nor this site are changed."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"))

    found = scene.plan(bundle)

    assert (found.hosts[0].current, found.hosts[0].send > 40_000, found.problems) == (False, True, ())
    assert list(scene.root("a").iterdir()) == []
    assert not scene.places.staging.exists()


def test_a_host_with_a_problem_stops_all_before_anything_is_sent(scene: Scene) -> None:
    """A directory of somebody else on one host: no host is touched, all problems are listed."""
    bundle = scene.bundle(1)
    scene.site(
        scene.local("a", targets=[DEBIAN]),
        scene.local("b", targets=[DEBIAN]),
        scene.local("c", targets=["rocky-9-x86_64"]),
    )
    (scene.root("b") / "os-releases").mkdir()

    with pytest.raises(PlanRefused) as refused:
        scene.apply(bundle)

    assert [problem.where for problem in refused.value.problems] == ["b", "c"]
    assert list(scene.root("a").iterdir()) == []


def test_only_one_run_works_on_a_site(scene: Scene) -> None:
    """A second apply meanwhile is told who works."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"))

    with hold(scene.places), pytest.raises(Busy):
        scene.apply(bundle)


def test_an_older_bundle_is_refused(scene: Scene) -> None:
    """What a site has moved past is not applied again."""
    old, new = scene.bundle(1), scene.bundle(2)
    scene.site(scene.local("a"))
    scene.apply(new)

    with pytest.raises(SequenceRefused):
        scene.apply(old)


def test_a_dead_host_holds_activation_up_but_not_the_others_proof(scene: Scene, wires: Wires) -> None:
    """With one host dead and none allowed to fail, the rest end proved on the old release; a rerun sends nothing."""
    bundle = scene.bundle(1)
    dead = {"name": "dead", "address": "127.0.0.1", "port": 9, "root": "/nowhere"}
    scene.site(scene.local("a"), dead)

    applied = scene.apply(bundle)

    assert states(applied) == {"a": "proved", "dead": "failed"}
    with pytest.raises(FleetStopped):
        applied.require_success()
    assert not (scene.root("a") / "os-releases").exists()
    assert LINE not in read_state(scene.places).seen

    scene.site(scene.local("a"), dead, gates={"max_failed": 1})
    again = scene.apply(bundle)

    assert {one.host: (one.state, one.sent) for one in again.outcomes} == {
        "a": ("activated", 0),
        "dead": ("failed", 0),
    }
    with pytest.raises(PartlyApplied):
        again.require_success()


def test_a_cut_transfer_goes_on_where_it_was(scene: Scene, wires: Wires) -> None:
    """A connection cut in the middle of a blob costs only what was on its way."""
    sample = make_sample(1)
    bundle = scene.bundle(1, sample)
    scene.site(scene.local("a"))
    whole = scene.plan(bundle).hosts[0].send
    first = wires.sent["a"]
    wires.sent.clear()
    wires.cuts["a"] = [-1, first + 25_000]

    applied = scene.apply(bundle)

    assert states(applied) == {"a": "activated"}
    assert applied.outcomes[0].sent <= whole
    assert scene.serves("a", sample)


def test_failed_tries_are_limited(scene: Scene, wires: Wires) -> None:
    """A host whose connection is cut again and again fails in the end; the other goes on."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"), scene.local("b"), limits={"retries": 2}, gates={"max_failed": 1})
    wires.cuts["b"] = [40_000, *[10] * 10]

    applied = scene.apply(bundle)

    assert states(applied) == {"a": "activated", "b": "failed"}


def test_a_host_that_lost_its_release_gets_it_again(scene: Scene) -> None:
    """The hosts are asked what they have: a rerun brings back what was lost."""
    sample = make_sample(1)
    bundle = scene.bundle(1, sample)
    scene.site(scene.local("a"), scene.local("b"))
    scene.apply(bundle)
    shutil.rmtree(scene.root("b"))

    scene.local("b")
    applied = scene.apply(bundle)

    assert states(applied) == {"a": "up to date", "b": "activated"}
    assert scene.serves("b", sample)


def share(scene: Scene, *names: str, **rest: Any) -> None:
    """Let hosts of these names have one root."""
    hosts = [scene.local(name, shared_root="gluster", address=f"{name}.example") for name in names]
    scene.site(*({**host, "root": hosts[0]["root"], "transport": "openssh"} for host in hosts), **rest)


def test_hosts_that_share_a_root_have_one_writer(scene: Scene, wires: Wires) -> None:
    """The second host of a group is sent no content, and is asked whether it sees the release."""
    bundle = scene.bundle(1)
    wires.local = True
    share(scene, "a", "b")

    applied = scene.apply(bundle)

    assert states(applied) == {"a": "activated", "b": "activated"}
    assert {one.host: one.sent > 0 for one in applied.outcomes} == {"a": True, "b": False}


def test_a_host_that_does_not_see_its_shared_root_fails(scene: Scene, wires: Wires) -> None:
    """A mount that is missing on one host of a group is noticed after the switch."""
    bundle = scene.bundle(1)
    wires.local = True
    wires.roots["b"] = str(scene.root("b"))
    share(scene, "a", "b", gates={"max_failed": 1})

    applied = scene.apply(bundle)

    assert states(applied) == {"a": "activated", "b": "failed"}


def test_activation_that_fails_on_too_many_is_taken_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one host cannot switch, those that did serve the old release again."""
    old = make_sample(1)
    scene.site(scene.local("a"), scene.local("b"))
    scene.apply(scene.bundle(1, old))
    new = scene.bundle(2)

    def spoil() -> None:
        views = scene.root("b") / ".bundles" / "views"
        shutil.move(views, views.with_name("moved"))
        views.write_text("in the way")

    _spoil_before_activation(monkeypatch, spoil)
    applied = scene.apply(new)

    assert states(applied) == {"a": "rolled back", "b": "failed"}
    assert scene.serves("a", old)
    with pytest.raises(FleetStopped, match="taken back on 1"):
        applied.require_success()


def test_a_first_activation_that_fails_on_too_many_is_taken_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that served nothing before serves nothing again; log and rerun know it, and nothing is sent twice."""
    sample = make_sample(1)
    scene.site(scene.local("a"), scene.local("b"))
    bundle = scene.bundle(1, sample)
    views = scene.root("b") / ".bundles" / "views"

    with monkeypatch.context() as patch:
        _spoil_before_activation(patch, lambda: views.write_text("in the way"))
        applied = scene.apply(bundle)
    after = [path.name for path in scene.root("a").iterdir()]
    known = known_hosts_state(scene.places)
    views.unlink()
    again = scene.apply(bundle)

    assert states(applied) == {"a": "rolled back", "b": "failed"}
    assert [one.active for one in applied.outcomes] == ["", ""]
    with pytest.raises(FleetStopped, match="taken back on 1"):
        applied.require_success()
    assert after == [".bundles"]
    assert {host.name: host.active for host in known} == {"a": ()}
    assert {one.host: (one.state, one.sent) for one in again.outcomes} == {
        "a": ("activated", 0),
        "b": ("activated", 0),
    }
    assert all(scene.serves(name, sample) for name in "ab")


def test_a_single_signer_is_told_of_each_time(scene: Scene) -> None:
    """One signer of one is allowed, and said at every plan and apply, not once."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"))
    told: list[Event] = []

    for _ in range(2):
        plan(PlanRequest(media=(bundle,), places=scene.places), told.append)
        scene.apply(bundle, told.append)

    singles = [one.message for one in told if isinstance(one, Warned) and "single signer" in one.message]
    assert len(singles) == 4
    assert all("alice alone vouches for it" in one for one in singles)
    records = [one.facts for one in AuditLog(scene.places.log).records() if one.event == "verified"]
    assert [one["single_signer"] for one in records] == [True] * 4


def _spoil_before_activation(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    activate = Rollout.activate

    def spoiled(self: Rollout) -> None:
        action()
        activate(self)

    monkeypatch.setattr(Rollout, "activate", spoiled)


def test_retention_removes_what_the_plan_named(scene: Scene) -> None:
    """After the switch, releases beyond retention go; the previous one stays."""
    scene.site(scene.local("a"), retention={"keep": 1})
    for sequence in (1, 2):
        scene.apply(scene.bundle(sequence))
    bundle = scene.bundle(3)

    planned = scene.plan(bundle).hosts[0].pruned
    applied = scene.apply(bundle)

    assert planned == (f"{LINE}-1",)
    assert applied.outcomes[0].freed > 0
    assert sorted(path.name for path in (scene.root("a") / ".bundles" / "releases").iterdir()) == [
        f"{LINE}-2",
        f"{LINE}-3",
    ]


def test_a_new_trust_document_reaches_the_hosts(scene: Scene) -> None:
    """Trust on the stick is taken over and handed to hosts, also to those that need nothing else."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"))
    scene.apply(bundle)
    scene.trust(2)

    scene.apply(bundle)

    assert scene.plan(bundle).hosts[0].trust == 2


def test_the_plan_can_be_declined(scene: Scene) -> None:
    """Whoever is shown the plan may say no: no host is touched."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"))

    with pytest.raises(InterruptedByUser):
        apply(ApplyRequest(media=(bundle,), places=scene.places), lambda _: False)

    assert list(scene.root("a").iterdir()) == []


def test_what_a_killed_run_activated_is_in_the_log(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before its end, a run has written down what it activated; a rerun adds what the log lacks."""
    scene.site(scene.local("a"))
    bundle = scene.bundle(1)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bundler.workflows.site.apply._ended", killed)
        with pytest.raises(KeyboardInterrupt):
            scene.apply(bundle)
    first = known_hosts_state(scene.places)
    scene.places.log.unlink()
    scene.apply(bundle)
    second = known_hosts_state(scene.places)

    assert [held.bundle for host in first for held in host.active] == [f"{LINE}-1"]
    assert [held.bundle for host in second for held in host.active] == [f"{LINE}-1"]
