"""Serving releases: one switch, lines side by side, back to the previous one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import BundleRevoked, HostRefused, IntegrityError, SequenceRefused, SignatureRefused
from bundler.repohost.releases import activate, deactivate, distrust, rollback
from tests.repohost.handmade import Host, Made, overlaid, signing_key
from tests.repohost.killer import Fault, Killer, Trial, strike_each

BASE = "os-releases/33/debian-12-x86_64"
ONE = Made(
    "os-33-1",
    {
        f"{BASE}/wheels/a-1.whl": b"a",
        f"{BASE}/wheels/index.html": b"first",
        f"{BASE}/requirements/nova-constraints.txt": b"a==1\n",
        f"{BASE}/venvs/nova.tar.zst": b"nova one",
        "constraints/upper_1.txt": b"a===1\n",
    },
    {"constraints/upper_cached.txt": "upper_1.txt"},
)
TWO = Made(
    "os-33-2",
    {
        f"{BASE}/wheels/a-2.whl": b"aa",
        f"{BASE}/wheels/index.html": b"second",
        f"{BASE}/requirements/nova-constraints.txt": b"a==2\n",
        f"{BASE}/venvs/nova.tar.zst": b"nova two",
        "constraints/upper_2.txt": b"a===2\n",
    },
    {"constraints/upper_cached.txt": "upper_2.txt"},
)
DATABASE = Made("db-11-1", {"os-releases/db/debian-12-x86_64/wheels/d-1.whl": b"d"})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path / "a repo's root")
    for release in (ONE, TWO, DATABASE):
        made.add(release)
    return made


def state(host: Host) -> tuple[dict[str, tuple[str, str]], dict[str, bytes]]:
    return host.lines(), host.served()


def test_first_activation_serves_every_file(host: Host) -> None:
    """After the first activation every file of the release has its bytes below the root, links lead where signed."""
    with host.wire() as wire:
        activate(wire, ONE.id)

    served = host.served()
    assert {path: served[path] for path in ONE.files} == dict(ONE.files)
    assert (host.root / "constraints/upper_cached.txt").readlink() == Path("upper_1.txt")
    assert (host.root / "os-releases").readlink() == Path(".bundles/active/tree/os-releases")


def test_activating_what_is_active_does_nothing(host: Host) -> None:
    """A second activation of the same release makes no view and leaves the previous release what it was."""
    with host.wire() as wire:
        activate(wire, ONE.id)
        activate(wire, TWO.id)
        before = (host.home / "active").readlink()
        activate(wire, TWO.id)

    assert (host.home / "active").readlink() == before
    assert host.lines() == {"os-33": (TWO.id, ONE.id)}


def test_files_of_the_previous_release_stay(host: Host) -> None:
    """What only the previous release has is still served; where both have a file, the active one's is."""
    with host.wire() as wire:
        activate(wire, ONE.id)
        activate(wire, TWO.id)

    served = host.served()
    assert served[f"{BASE}/wheels/a-1.whl"] == b"a"
    assert served[f"{BASE}/wheels/index.html"] == b"second"


def test_files_are_links_to_those_of_the_release(host: Host) -> None:
    """A view takes no room for content: its files are the release's own."""
    with host.wire() as wire:
        activate(wire, ONE.id)

    path = f"{BASE}/venvs/nova.tar.zst"
    assert (host.root / path).samefile(host.tree(ONE.id) / path)


def test_a_path_may_change_its_type(host: Host) -> None:
    """The active release wins where it has a directory, file or link in place of another type."""
    before = host.add(Made("x-1-1", {"x/dir/f": b"1", "x/file": b"2", "x/gone/g/h": b"3"}, {"x/link": "dir"}))
    after = host.add(Made("x-1-2", {"x/dir": b"4", "x/file/f": b"5", "x/link/f": b"6"}, {"x/gone": "file"}))

    with host.wire() as wire:
        activate(wire, before.id)
        activate(wire, after.id)
        served = host.served()
        rollback(wire, "x-1", before.id)

    assert {path: served[path] for path in after.files} == dict(after.files)
    assert (host.root / "x/link").readlink() == Path("dir")
    assert {path: (host.root / path).read_bytes() for path in before.files} == dict(before.files)


def test_lines_are_served_side_by_side(host: Host) -> None:
    """Activating a release of one line leaves the other line's as it is."""
    with host.wire() as wire:
        activate(wire, ONE.id)
        activate(wire, DATABASE.id)
        activate(wire, TWO.id)

    assert host.lines() == {"os-33": (TWO.id, ONE.id), "db-11": (DATABASE.id, "-")}
    assert host.served().items() >= DATABASE.files.items()


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({f"{BASE}/wheels/index.html": b"other"}, f"{BASE}/wheels/index.html"),
        ({f"{BASE}/wheels": b"a file"}, f"{BASE}/wheels"),
        ({f"{BASE}/wheels/index.html/x": b"below"}, f"{BASE}/wheels/index.html"),
    ],
    ids=["content", "file-for-directory", "directory-for-file"],
)
def test_lines_that_differ_in_a_path_are_refused(host: Host, files: dict[str, bytes], named: str) -> None:
    """Two lines with one path but different things there: refused with the path, and nothing changes."""
    other = host.add(Made("other-1-1", {"z/ok": b"", **files}))
    with host.wire() as wire:
        activate(wire, ONE.id)
        before = state(host)

        with pytest.raises(HostRefused, match=named):
            activate(wire, other.id)

    assert state(host) == before
    assert not (host.root / "z").is_symlink()


def test_lines_may_share_a_path_of_equal_content(host: Host) -> None:
    """Two lines that have the very same file are served together."""
    other = host.add(Made("other-1-1", {f"{BASE}/wheels/index.html": b"first"}))
    with host.wire() as wire:
        activate(wire, ONE.id)

        activate(wire, other.id)

    assert set(host.lines()) == {"os-33", "other-1"}


def test_a_foreign_name_in_the_way_is_refused(host: Host) -> None:
    """A directory that we did not make is never replaced, nor anything else changed: the message names it."""
    (host.root / "os-releases").mkdir()

    with host.wire() as wire, pytest.raises(HostRefused, match="os-releases is in the way"):
        activate(wire, ONE.id)

    assert not (host.home / "active").is_symlink()
    assert not (host.root / "constraints").is_symlink()


def test_what_others_write_is_carried_over(host: Host) -> None:
    """Files that OpenStack-Ansible wrote stay when the release changes; ours that it changed are as signed again."""
    with host.wire() as wire:
        activate(wire, ONE.id)
        requirements = host.root / BASE / "requirements"
        for path in (host.root / "constraints/own one.txt", requirements / "nova-requirements.txt"):
            path.write_text("theirs")
        ours = requirements / "nova-constraints.txt"
        ours.unlink()
        ours.write_text("changed")
        (host.root / BASE / "wheels" / "stray.whl").write_text("stray")

        activate(wire, TWO.id)

    assert (host.root / "constraints/own one.txt").read_text() == "theirs"
    assert (requirements / "nova-requirements.txt").read_text() == "theirs"
    assert ours.read_bytes() == b"a==2\n"
    assert not (host.root / BASE / "wheels" / "stray.whl").exists()


def test_three_views_are_kept(host: Host) -> None:
    """Of many switches the last three views stay, the served one among them."""
    with host.wire() as wire:
        for _ in range(3):
            activate(wire, ONE.id)
            activate(wire, TWO.id)

    assert sorted(path.name for path in (host.home / "views").iterdir()) == ["4", "5", "6"]
    assert (host.home / "active").readlink() == Path("views/6")


def test_rollback_swaps_active_and_previous(host: Host) -> None:
    """After a rollback the previous release is served, and the one that was active is what the next one leads to."""
    with host.wire() as wire:
        activate(wire, ONE.id)
        activate(wire, TWO.id)

        assert rollback(wire, "os-33", ONE.id) == ONE.id
        assert rollback(wire, "os-33", ONE.id) == ONE.id

    assert host.lines() == {"os-33": (ONE.id, TWO.id)}
    assert host.served() == overlaid(ONE, TWO) | {"constraints/upper_cached.txt": b"a===1\n"}


def test_rollback_needs_a_previous_release(host: Host) -> None:
    """Without a previous release there is nothing to go back to; an unknown line is refused as well."""
    with host.wire() as wire:
        activate(wire, ONE.id)

        with pytest.raises(HostRefused, match="previous"):
            rollback(wire, "os-33", TWO.id)
        with pytest.raises(HostRefused, match="nothing of db-11"):
            rollback(wire, "db-11", DATABASE.id)


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        ("floor os 2\n", SequenceRefused),
        ("epoch os 1\n", SequenceRefused),
        ("revoked-bundle {digest}\n", BundleRevoked),
    ],
    ids=["floor", "epoch", "revoked"],
)
def test_trust_that_rose_forbids_the_way_back(host: Host, policy: str, error: type[Exception]) -> None:
    """A release below the floor of trust, or revoked, is not served again: neither by rollback nor by activation."""
    with host.wire() as wire:
        activate(wire, ONE.id)
        activate(wire, TWO.id)
    host.trust(policy.format(digest=host.list_digest(ONE.id)))

    with host.wire() as wire:
        with pytest.raises(error):
            rollback(wire, "os-33", ONE.id)
        with pytest.raises(error):
            activate(wire, ONE.id)

    assert host.lines() == {"os-33": (TWO.id, ONE.id)}


def own_key() -> str:
    return signing_key().with_suffix(".pub").read_text().split()[1]


@pytest.mark.parametrize("gone", ["signer", "revoked"])
def test_signatures_are_judged_again_by_the_trust_of_today(host: Host, gone: str) -> None:
    """Once its signer counts no more, a release is neither activated nor gone back to; what is served stays."""
    with host.wire() as wire:
        activate(wire, ONE.id)
        activate(wire, TWO.id)
    directory = host.home / "trust" / "0001"
    if gone == "signer":
        (directory / "allowed_signers.bundle").write_text("")
    else:
        (directory / "revoked_keys").write_text(f"ssh-ed25519 {own_key()}\n")

    with host.wire() as wire:
        with pytest.raises(SignatureRefused, match="0 of 1 required signers"):
            rollback(wire, "os-33", ONE.id)
        with pytest.raises(SignatureRefused, match="0 of 1 required signers"):
            activate(wire, DATABASE.id)

    assert host.lines() == {"os-33": (TWO.id, ONE.id)}


def test_a_release_with_damaged_tables_is_not_activated(host: Host) -> None:
    """What is served is what was signed: with other tables than those nothing is switched."""
    table = next((host.home / "releases" / ONE.id / "signed").glob("assemble-*"))
    table.write_text(table.read_text().replace("a-1.whl", "b-1.whl"))

    with host.wire() as wire, pytest.raises(IntegrityError):
        activate(wire, ONE.id)

    assert host.lines() == {}


@pytest.mark.parametrize("kind", ["signer", "key", "bundle"])
def test_what_the_other_end_distrusts_is_not_served(host: Host, kind: str) -> None:
    """The deployment host can take trust away for a conversation, by signer, key or bundle; the next begins anew."""
    word = {"signer": "alice", "key": own_key(), "bundle": host.list_digest(ONE.id)}[kind]
    with host.wire() as wire:
        distrust(wire, ["signer:somebody", f"{kind}:{word}"])
        with pytest.raises(BundleRevoked if kind == "bundle" else SignatureRefused):
            activate(wire, ONE.id)
    assert host.lines() == {}

    with host.wire() as wire:
        activate(wire, ONE.id)

    assert host.lines() == {"os-33": (ONE.id, "-")}


def test_distrust_that_is_not_understood_lets_nothing_pass(host: Host) -> None:
    """A kind of distrust that this host does not know is refused, not passed over."""
    with host.wire() as wire:
        distrust(wire, ["country:x"])
        with pytest.raises(HostRefused, match="cannot distrust country:x"):
            activate(wire, ONE.id)

    assert host.lines() == {}


def test_a_first_activation_is_taken_back_to_nothing(host: Host) -> None:
    """A line that served nothing before does so again, other lines as before; the release stays, to activate anew."""
    with host.wire() as wire:
        activate(wire, DATABASE.id)
        before = state(host)
        activate(wire, ONE.id)

        deactivate(wire, "os-33", ONE.id)
        deactivate(wire, "os-33", ONE.id)
        after = state(host)
        activate(wire, ONE.id)

    assert after == before
    assert host.lines() == {"db-11": (DATABASE.id, "-"), "os-33": (ONE.id, "-")}


def test_the_only_line_can_be_taken_back(host: Host) -> None:
    """A host that serves nothing any more has no names of ours below its root."""
    with host.wire() as wire:
        activate(wire, ONE.id)

        deactivate(wire, "os-33", ONE.id)

    assert state(host) == ({}, {})
    assert [path.name for path in host.root.iterdir()] == [".bundles"]


def test_only_a_first_activation_is_taken_back_to_nothing(host: Host) -> None:
    """With a release before it, or another one served, that is refused: rollback leads back."""
    with host.wire() as wire:
        activate(wire, ONE.id)
        activate(wire, TWO.id)

        for release in (TWO.id, ONE.id):
            with pytest.raises(HostRefused, match=f"{ONE.id} was before it"):
                deactivate(wire, "os-33", release)

    assert host.lines() == {"os-33": (TWO.id, ONE.id)}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "amid", "term", "fail"])
@pytest.mark.parametrize("verb", ["first", "activate", "rollback", "deactivate"])
def test_a_far_end_that_dies_leaves_old_or_new(tmp_path: Path, verb: str, fault: Fault) -> None:
    """Struck at any command, a switch leaves the old or the new state; a rerun ends with the new one."""
    killer = Killer(tmp_path / "killer")
    hosts: list[Host] = []
    struck: list[str] = []

    steps = {"first": [], "activate": [ONE], "rollback": [ONE, TWO], "deactivate": [ONE]}[verb]
    one, two = ({"os-33": (ONE.id, "-")}, overlaid(ONE)), ({"os-33": (TWO.id, ONE.id)}, overlaid(TWO, ONE))
    old, new = {
        "first": (({}, {}), one),
        "activate": (one, two),
        "rollback": (two, ({"os-33": (ONE.id, TWO.id)}, overlaid(ONE, TWO))),
        "deactivate": (one, ({}, {})),
    }[verb]

    def prepare() -> None:
        host = Host(tmp_path / f"host{len(hosts)}")
        host.add(ONE)
        host.add(TWO)
        with host.wire() as wire:
            for release in steps:
                activate(wire, release.id)
        hosts.append(host)

    def act() -> None:
        with hosts[-1].wire({"PATH": str(killer.path)}) as wire:
            if verb == "rollback":
                rollback(wire, "os-33", ONE.id)
            elif verb == "deactivate":
                deactivate(wire, "os-33", ONE.id)
            else:
                activate(wire, ONE.id if verb == "first" else TWO.id)

    def now() -> tuple[dict[str, tuple[str, str]], dict[str, bytes]]:
        lines, served = state(hosts[-1])
        served.pop("constraints/upper_cached.txt", None)
        return lines, served

    def judge(hit: str) -> None:
        assert now() in (old, new), hit
        act()
        assert now() == new, hit
        assert hosts[-1].leftovers() == [], hit
        struck.append(hit)

    strike_each(killer, Trial(prepare=prepare, act=act, judge=judge), fault, stride=6)

    assert len(struck) > 3
