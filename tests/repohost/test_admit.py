"""What a repo host makes of a pushed bundle: a release, or a refusal by the rule that was broken."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.errors import (
    BundlerError,
    BundleRevoked,
    EquivocationRefused,
    FileMissing,
    FormatError,
    HostRefused,
    IntegrityError,
    SequenceRefused,
    SignatureRefused,
    TargetRefused,
    ToolMissing,
    TrustMissing,
)
from bundler.repohost.intake import admit, look, send_signed
from bundler.repohost.releases import activate, check, distrust
from tests.bundles import DEBIAN, UBUNTU, Keys, Sample, digest_of, make_sample
from tests.repohost.killer import Fault, Killer, Trial, strike_each
from tests.repohost.pushing import (
    Roots,
    bare,
    bundle_id,
    expected,
    leftovers,
    push,
    push_blobs,
    signed_part,
    tree_of,
    trust,
    wanted,
    wired,
)

MakeBundle = Callable[..., Path]
SECOND = 1795123999


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("targets", [(DEBIAN,), (DEBIAN, UBUNTU)])
def test_a_pushed_bundle_becomes_the_signed_tree(
    tmp_path: Path,
    root: Path,
    roots: Roots,
    signed_bundle: Path,
    plain_sample: Sample,
    *,
    shell: str,
    targets: tuple[str, ...],
) -> None:
    """With sh, coreutils and ssh-keygen alone the host puts together and serves what the tables say, and no more."""
    with wired(root, env=bare(tmp_path / "tools", shell)) as wire:
        trust(wire, roots.container(roots.first))
        release = push(wire, signed_bundle, plain_sample, *targets)
        activate(wire, release)
        facts = look(wire)
        differences = check(wire)

    assert tree_of(root, release) == expected(plain_sample, *targets)
    assert differences == ()
    assert (root / "constraints" / "upper_constraints_cached.txt").read_bytes() == b"six==1.17\n"
    assert [(one.id, one.state, one.targets) for one in facts.releases] == [(release, "active", targets)]
    assert facts.trust == 1
    assert facts.seen["demo-2026.1"].sequence == facts.releases[0].sequence
    assert leftovers(root) == []


def test_admitting_again_changes_nothing(root: Path, roots: Roots, signed_bundle: Path, plain_sample: Sample) -> None:
    """A release that stands, whole, is not put together again; one that does not, is."""
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        release = push(wire, signed_bundle, plain_sample)
        tree = root / ".bundles" / "releases" / release / "tree"
        before = tree.stat().st_ino
        push(wire, signed_bundle, plain_sample)
        same = tree.stat().st_ino
        (tree / "constraints" / "upper_constraints_abc.txt").unlink()
        push(wire, signed_bundle, plain_sample)

    assert same == before
    assert tree_of(root, release) == expected(plain_sample)
    assert leftovers(root) == []


def test_a_missing_blob_is_named(root: Path, roots: Roots, signed_bundle: Path) -> None:
    """Without its blobs a bundle is refused by the first that is missing; the host remembers nothing of it."""
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        send_signed(wire, bundle_id(signed_bundle), signed_part(signed_bundle, [DEBIAN]))
        with pytest.raises(FileMissing, match=wanted(signed_bundle, [DEBIAN])[0]):
            admit(wire, bundle_id(signed_bundle), [DEBIAN])
        facts = look(wire)

    assert facts.seen == {}
    assert facts.releases == ()


def test_without_trust_nothing_is_admitted(root: Path, signed_bundle: Path) -> None:
    """A host that was given no trust document refuses."""
    with wired(root) as wire:
        send_signed(wire, bundle_id(signed_bundle), signed_part(signed_bundle, [DEBIAN]))
        with pytest.raises(TrustMissing):
            admit(wire, bundle_id(signed_bundle), [DEBIAN])


def test_without_ssh_keygen_the_refusal_says_so(tmp_path: Path, root: Path, roots: Roots) -> None:
    """A host that lacks ssh-keygen is told apart from one that distrusts."""
    env = bare(tmp_path / "tools")
    (tmp_path / "tools" / "tools" / "ssh-keygen").unlink()

    with wired(root, env=env) as wire, pytest.raises(ToolMissing, match="ssh-keygen is not installed"):
        trust(wire, roots.container(roots.first))


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("SHA256SUMS.alice.sig", b"", SignatureRefused),
        ("release.txt", b"name demo\nversion 2026.1\nsequence 9\nfloor 0\n", IntegrityError),
        (f"assemble-{DEBIAN}.tsv", b"file\t../../evil\t0644\troot\t0\n", IntegrityError),
        ("SHA256SUMS", None, SignatureRefused),
    ],
)
def test_what_was_changed_on_the_way_is_refused(
    root: Path, roots: Roots, signed_bundle: Path, name: str, change: bytes | None, rule: type[BundlerError]
) -> None:
    """The signed part counts only as it was signed."""
    part = signed_part(signed_bundle, [DEBIAN])
    part[name] = [change if change is not None else part[name][0] + b"\n"]
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        send_signed(wire, bundle_id(signed_bundle), part)
        with pytest.raises(rule):
            admit(wire, bundle_id(signed_bundle), [DEBIAN])

    assert not (root / ".bundles" / "seen" / "demo-2026.1").exists()


WHEELS = f"os-releases/2026.1/{DEBIAN}/wheels"


@pytest.mark.parametrize(
    "row",
    [
        "link\t{top}/out\t0777\troot\tlocks\nlink\t{top}/out/below\t0777\troot\twheels\n",
        "link\t{top}\t0777\troot\tlocks\n",
        "link\t{top}/pure-1.0+local-py3-none-any.whl\t0777\troot\tother\n",
        "link\t{top}/pure-1.0+local-py3-none-any.whl/x\t0777\troot\tother\n",
        "link\t{top}/out\t0777\troot\t/etc\n",
        "link\t{top}/out\t0777\troot\t../../../../../etc\n",
        "link\t{top}/out\t0777\troot\tx/../../..\n",
        "link\t{top}/out\t0777\troot\t../.hidden\n",
        "file\t/etc/evil\t0644\troot\t{blob}\n",
        "file\t{top}/../../x\t0644\troot\t{blob}\n",
        "file\t.bundles/trust/0002/policy.txt\t0644\troot\t{blob}\n",
        "pipe\t{top}/out\t0644\troot\t{blob}\n",
    ],
    ids=[
        "below a link", "link for directory", "twice", "below a file", "absolute link", "link out of the root",
        "link that turns", "link to hidden", "absolute", "upwards", "hidden", "other kind",
    ],
)  # fmt: skip
def test_tables_that_lead_elsewhere_are_refused_however_well_they_are_signed(
    root: Path, roots: Roots, keys: Keys, bundle: Path, plain_sample: Sample, row: str
) -> None:
    """Nothing is put together by a table that would write through a link, out of the tree, or a path twice."""
    table = bundle / f"assemble-{DEBIAN}.tsv"
    blob = wanted(bundle, [DEBIAN])[0]
    rows = [
        *table.read_text().splitlines(keepends=True),
        *row.format(top=WHEELS, blob=blob).splitlines(keepends=True),
    ]
    before = digest_of(table.read_bytes())
    table.write_text("".join(rows))
    sums = bundle / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, digest_of(table.read_bytes())))
    keys.sign(bundle, "alice")

    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        with pytest.raises(FormatError, match="the table of files is garbled"):
            push(wire, bundle, plain_sample)

    assert list((root / ".bundles" / "releases").iterdir()) == []
    assert not (root / ".bundles" / "seen" / "demo-2026.1").exists()


@pytest.mark.parametrize("word", ["signer:alice", "key:{key}", "bundle:{bundle}"])
def test_what_the_deployment_host_distrusts_is_not_admitted(
    root: Path, roots: Roots, keys: Keys, signed_bundle: Path, plain_sample: Sample, word: str
) -> None:
    """Trust that was taken away at the site holds on its repo hosts, before a trust document says so."""
    key = (keys.directory / "alice.pub").read_text().split()[1]
    digest = digest_of((signed_bundle / "SHA256SUMS").read_bytes())
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        distrust(wire, [word.format(key=key, bundle=digest)])
        with pytest.raises((SignatureRefused, BundleRevoked)):
            push(wire, signed_bundle, plain_sample)

    assert list((root / ".bundles" / "releases").iterdir()) == []


def test_a_bundle_under_another_name_is_refused(root: Path, roots: Roots, signed_bundle: Path) -> None:
    """What a push is called must be what the signed facts say."""
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        send_signed(wire, "demo-2026.1-1795123457", signed_part(signed_bundle, [DEBIAN]))
        with pytest.raises(BundlerError, match=r"calls itself demo-2026\.1-1795123456"):
            admit(wire, "demo-2026.1-1795123457", [DEBIAN])


def test_another_target_is_refused(root: Path, roots: Roots, signed_bundle: Path) -> None:
    """A host takes no target that the bundle does not have."""
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        send_signed(wire, bundle_id(signed_bundle), signed_part(signed_bundle, [DEBIAN]))
        with pytest.raises(TargetRefused):
            admit(wire, bundle_id(signed_bundle), ["fedora-40-x86_64"])


def test_no_way_back_and_no_second_content(root: Path, roots: Roots, keys: Keys, make_bundle: MakeBundle) -> None:
    """After a newer release an older one is refused, and so is another content of the same sequence."""
    sample, other = make_sample(1), make_sample(2)
    older = make_bundle("older", sample)
    newer, twin = (make_bundle(name, made, sequence=SECOND) for name, made in (("n", sample), ("t", other)))
    for bundle in (older, newer, twin):
        keys.sign(bundle, "alice")
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        push(wire, newer, sample)
        with pytest.raises(SequenceRefused, match="which this host has admitted"):
            push(wire, older, sample)
        with pytest.raises(EquivocationRefused):
            push(wire, twin, other)


def test_what_trust_says_of_bundles_counts(
    root: Path, roots: Roots, keys: Keys, make_bundle: MakeBundle, signed_bundle: Path, plain_sample: Sample
) -> None:
    """Floors, epochs and revoked bundles come from the newest document, not from whoever pushes."""
    newer = make_bundle("newer", plain_sample, sequence=SECOND)
    keys.sign(newer, "alice")
    digest = digest_of((signed_bundle / "SHA256SUMS").read_bytes())
    first = roots.container(roots.first)
    floor = roots.container(replace(roots.first, version=2, floors={"demo": SECOND}))
    epoch = roots.container(replace(roots.first, version=3, floors={"demo": 1}, epochs={"demo": 1}))
    revoked = roots.container(
        replace(roots.first, version=4, floors={"demo": 1}, epochs={"demo": 1}, revoked_bundles=(digest,))
    )
    with wired(root) as wire:
        trust(wire, first, floor)
        with pytest.raises(SequenceRefused, match="which trust asks for"):
            push(wire, signed_bundle, plain_sample)
        push(wire, newer, plain_sample)
        trust(wire, first, floor, epoch)
        push(wire, signed_bundle, plain_sample)
        seen = look(wire).seen["demo-2026.1"]
        trust(wire, first, floor, epoch, revoked)
        with pytest.raises(BundleRevoked):
            push(wire, signed_bundle, plain_sample)

    assert (seen.epoch, seen.sequence) == (1, 1795123456)


def test_signers_count_by_the_hosts_own_trust(
    root: Path, roots: Roots, keys: Keys, bundle: Path, plain_sample: Sample
) -> None:
    """Two signatures of one person are one; a revoked key is none; a stranger's is none."""
    two = replace(roots.first, bundle_threshold=2)
    without = replace(two, version=2, revoked_keys=(roots.key("bob"),), bundle_threshold=1)
    keys.sign(bundle, "alice-2")
    keys.sign(bundle, "mallory")
    with wired(root) as wire:
        trust(wire, roots.container(two))
        with pytest.raises(SignatureRefused, match="1 of 2 required signers"):
            push(wire, bundle, plain_sample)
        keys.sign(bundle, "bob")
        release = push(wire, bundle, plain_sample)
        trust(wire, roots.container(two), roots.container(without))
        for name in ("alice", "alice-2"):
            (bundle / f"SHA256SUMS.{name}.sig").unlink()
        with pytest.raises(SignatureRefused, match="0 of 1 required signers"):
            push(wire, bundle, plain_sample)

    assert tree_of(root, release) == expected(plain_sample)


def test_a_next_release_shares_what_did_not_change(
    root: Path, roots: Roots, keys: Keys, make_bundle: MakeBundle, signed_bundle: Path, plain_sample: Sample
) -> None:
    """A second release sends nothing that is there, and links files of the active one."""
    newer = make_bundle("newer", plain_sample, sequence=SECOND)
    keys.sign(newer, "alice")
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        first = push(wire, signed_bundle, plain_sample)
        activate(wire, first)
        send_signed(wire, bundle_id(newer), signed_part(newer, [DEBIAN]))
        sent = push_blobs(wire, newer, plain_sample)
        admit(wire, bundle_id(newer), [DEBIAN])
        seen = look(wire).seen

    releases = root / ".bundles" / "releases"
    archive = f"os-releases/2026.1/{DEBIAN}/venvs/keystone-29.0.0.tar.zst"
    assert sent == []
    assert seen["demo-2026.1"].sequence == SECOND
    assert (releases / first / "tree" / archive).samefile(releases / bundle_id(newer) / "tree" / archive)


@pytest.mark.skipif(os.getuid() != 0, reason="needs two users")
def test_in_separate_hands_admit_takes_no_content(
    tmp_path: Path, root: Path, roots: Roots, signed_bundle: Path, plain_sample: Sample
) -> None:
    """The push login cannot activate, the admit login takes nothing and hashes again what the other one left."""
    inbox = tmp_path / "inbox"
    one = wanted(signed_bundle, [DEBIAN])[0]
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
    with wired(root, role="push", inbox=inbox) as wire:
        send_signed(wire, bundle_id(signed_bundle), signed_part(signed_bundle, [DEBIAN]))
        push_blobs(wire, signed_bundle, plain_sample)
        with pytest.raises(HostRefused, match="not a request of role push"):
            wire.ask("admit", bundle_id(signed_bundle), DEBIAN)
    blob = inbox / bundle_id(signed_bundle) / "blobs" / one
    good = blob.read_bytes()
    with wired(root, role="admit", inbox=inbox) as wire:
        blob.write_bytes(good[:-1] + b"?")
        with pytest.raises(IntegrityError, match="not what they are called"):
            admit(wire, bundle_id(signed_bundle), [DEBIAN])
        blob.unlink()
        blob.symlink_to("/etc/passwd")
        with pytest.raises(FileMissing):
            admit(wire, bundle_id(signed_bundle), [DEBIAN])
        blob.unlink()
        blob.write_bytes(good)
        admit(wire, bundle_id(signed_bundle), [DEBIAN])
        with pytest.raises(HostRefused, match="not a request of role admit"):
            wire.ask("receive", bundle_id(signed_bundle), "0")

    assert tree_of(root, bundle_id(signed_bundle)) == expected(plain_sample)
    assert list((root / ".bundles").glob("blobs/.new")) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("fault", "stride"), [("kill", 1), ("fail", 4)])
def test_killed_anywhere_admit_leaves_old_or_new(
    tmp_path: Path, roots: Roots, signed_bundle: Path, plain_sample: Sample, *, fault: Fault, stride: int
) -> None:
    """Struck at any command, the host has all of the release or none; a rerun ends well and leaves nothing behind."""
    killer = Killer(tmp_path / "killer")
    env = {"PATH": str(killer.path), "TMPDIR": str(tmp_path)}
    root, pushed, release = tmp_path / "root", tmp_path / "pushed", bundle_id(signed_bundle)
    pushed.mkdir()
    with wired(pushed) as wire:
        trust(wire, roots.container(roots.first))
        send_signed(wire, release, signed_part(signed_bundle, [DEBIAN]))
        push_blobs(wire, signed_bundle, plain_sample)

    def prepare() -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(pushed, root)

    def act() -> None:
        with wired(root, env=env) as wire:
            admit(wire, release, [DEBIAN])

    def judge(_: str) -> None:
        if (root / ".bundles" / "releases" / release).exists():
            assert tree_of(root, release) == expected(plain_sample)
            assert (root / ".bundles" / "seen" / "demo-2026.1").exists()
        with wired(root) as wire:
            push(wire, signed_bundle, plain_sample)
        assert tree_of(root, release) == expected(plain_sample)
        assert leftovers(root) == []

    assert strike_each(killer, Trial(prepare=prepare, act=act, judge=judge), fault, stride=stride) > 15
