"""Each rule by which one trust document vouches for the next, and each attempt to get around it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from bundler.bundle.layout import NAMESPACE, SUMS, signature_name
from bundler.errors import BundlerError, FormatError, SignatureRefused, TrustRefused, UsageError, VerifiersDisagree
from bundler.model.trust import POLICY, REVOKED_KEYS, TRUST_FILES, TRUST_JSON, TRUST_NAMESPACE, Distrust
from bundler.signing import sshkeygen, trust
from bundler.signing.chain import advance, bootstrap, bundle_policy, check_quorum, root_digest
from bundler.signing.check import make_judge
from bundler.signing.keys import ECDSA, SK_ECDSA, SK_ED25519
from bundler.signing.trust import Verdict, count
from tests.tokens import Token
from tests.trust.conftest import Ceremony, digest_of

MESSAGE = b"a" * 64 + b"  bundle.json\n"


def refusal(act: Callable[[], Any]) -> BundlerError:
    """Return the refusal: of trust, or of a document that cannot be meant."""
    with pytest.raises((TrustRefused, FormatError)) as caught:
        act()
    assert caught.value.exit_code == (75 if isinstance(caught.value, TrustRefused) else 60)
    return caught.value


def test_the_first_document_is_taken_by_its_digest(ceremony: Ceremony) -> None:
    """The digest that people carried and the quorum of its own root signers are enough."""
    document = ceremony.document()
    files = ceremony.files(document)

    assert bootstrap(files, digest_of(files)) == document


def test_another_first_document_is_refused(ceremony: Ceremony) -> None:
    """A document that is well signed, but not the one of the card, is refused; the message tells both digests."""
    card = digest_of(ceremony.files(ceremony.document()))
    files = ceremony.files(ceremony.document(floors={"demo": 1}))

    error = refusal(lambda: bootstrap(files, card))

    assert digest_of(files) in error.message
    assert card in error.hint


def test_a_first_document_needs_its_own_quorum(ceremony: Ceremony) -> None:
    """The right digest with too few signatures is refused; who can still sign is named."""
    files = ceremony.files(ceremony.document(), "r2")

    error = refusal(lambda: bootstrap(files, digest_of(files)))

    assert error.message == "1 of 2 root signers, by its own rules; still needed: 1 of r1, r3"


def test_the_next_document_needs_the_quorums_of_both(ceremony: Ceremony) -> None:
    """With new root signers, two of the old and two of the new ones must sign; one may count for both."""
    first, second = ceremony.document(), ceremony.document(2, "r3 r4 r5")

    assert advance(first, ceremony.files(second, "r1 r2 r4 r5")) == second
    assert advance(first, ceremony.files(second, "r1 r3 r4")) == second


@pytest.mark.parametrize(
    ("signers", "whose"),
    [
        ("r1 r2", "its own"),
        ("r4 r5", "version 1's"),
        ("r1 r4 r5", "version 1's"),
        ("r1 r2 r4", "its own"),
        ("", "version 1's"),
    ],
)
def test_one_quorum_is_not_enough(ceremony: Ceremony, signers: str, whose: str) -> None:
    """Signed by the old quorum alone, by the new one alone, or by one too few of either: refused, saying whose."""
    files = ceremony.files(ceremony.document(2, "r4 r5"), signers)

    error = refusal(lambda: advance(ceremony.document(), files))

    assert whose in error.message


@pytest.mark.parametrize("version", [1, 3, 9999])
def test_no_version_is_left_out_or_repeated(ceremony: Ceremony, version: int) -> None:
    """However well it is signed, only the very next version is taken."""
    files = ceremony.files(ceremony.document(version))

    assert "does not follow 1" in refusal(lambda: advance(ceremony.document(), files)).message


@pytest.mark.parametrize("version", [0, 10_000, 2**53 - 1, 2**64])
def test_a_version_out_of_range_is_refused(ceremony: Ceremony, version: int) -> None:
    """Zero and versions that have no directory name are no versions."""
    good = ceremony.document(2)
    text = TRUST_JSON, ceremony.files(good)[TRUST_JSON].replace(b'"version": 2', b'"version": %d' % version)
    files = ceremony.files(good, changed=dict([text]))

    assert "version" in refusal(lambda: advance(ceremony.document(), files)).message


def test_of_two_next_documents_only_one_can_be_followed(ceremony: Ceremony) -> None:
    """Whoever took one second version refuses the other one as a successor, and what follows it has to fit."""
    one, other = ceremony.document(2, "r1 r2 r4"), ceremony.document(2, "r1 r2 r5", floors={"demo": 7})
    third = ceremony.files(ceremony.document(3, "r4 r5", floors={"demo": 7}), "r1 r2 r4 r5")

    taken = advance(ceremony.document(), ceremony.files(one))

    assert "does not follow 2" in refusal(lambda: advance(taken, ceremony.files(other))).message
    assert advance(taken, third).version == 3
    refusal(lambda: advance(other, ceremony.files(ceremony.document(3, "r4 r5"), "r4 r5")))


@pytest.mark.parametrize("name", TRUST_FILES)
def test_a_file_that_was_changed_after_signing_is_refused(ceremony: Ceremony, name: str) -> None:
    """Every file is what SHA256SUMS says."""
    files = ceremony.files(ceremony.document(2))
    files[name] += b"\n"

    assert refusal(lambda: advance(ceremony.document(), files)).message == f"{name} is not what was signed"


@pytest.mark.parametrize("name", sorted(set(TRUST_FILES) - {TRUST_JSON}))
def test_a_signed_file_that_does_not_say_what_the_document_says_is_refused(ceremony: Ceremony, name: str) -> None:
    """What sh and ssh-keygen read must be made from trust.json, even where a quorum signed something else."""
    mallory = f'mallory namespaces="{NAMESPACE},{TRUST_NAMESPACE}" {ceremony.public("mallory")}\n'.encode()
    changed = {REVOKED_KEYS: ceremony.public("alice").encode() + b"\n", POLICY: b"threshold bundle 0\n"}
    files = ceremony.files(ceremony.document(2), changed={name: changed.get(name, mallory)})

    assert f"{name} does not say" in refusal(lambda: advance(ceremony.document(), files)).message


@pytest.mark.parametrize("name", [*TRUST_FILES, SUMS])
def test_a_file_that_is_missing_is_named(ceremony: Ceremony, name: str) -> None:
    """A container that lacks a file is refused."""
    files = ceremony.files(ceremony.document(2))
    del files[name]

    assert name in refusal(lambda: advance(ceremony.document(), files)).message


@pytest.mark.parametrize("listed", [True, False])
def test_a_file_too_many_is_named(ceremony: Ceremony, *, listed: bool) -> None:
    """A container that has another file, signed or not, is refused."""
    extra = {"verify.sh": b"exit 0\n"}
    files = ceremony.files(ceremony.document(2), changed=extra if listed else None) | extra

    assert "'verify.sh'" in refusal(lambda: advance(ceremony.document(), files)).message


def test_one_person_with_two_keys_counts_once(ceremony: Ceremony) -> None:
    """Two signatures by two keys of one signer are the word of one."""
    files = ceremony.files(ceremony.document(), "r1 r1b")

    error = refusal(lambda: bootstrap(files, digest_of(files)))

    assert "1 of 2" in error.message
    assert "one signer counts once" in str(error.problems)


def test_a_signature_under_another_name_counts_once(ceremony: Ceremony) -> None:
    """File names prove nothing: one signature in two files is one."""
    files = ceremony.files(ceremony.document(), "r1")
    files[signature_name("r2")] = files[signature_name("r1")]

    assert "1 of 2" in refusal(lambda: bootstrap(files, digest_of(files))).message


def test_a_signature_for_bundles_is_none_over_trust(ceremony: Ceremony) -> None:
    """A root key that was made to sign in the namespace of bundles, or in git's, has not signed trust."""
    for namespace in (NAMESPACE, "git", "receipt@offline"):
        files = ceremony.files(ceremony.document(), namespace=namespace)
        assert "0 of 2" in refusal(partial(bootstrap, files, digest_of(files))).message


def test_a_signature_for_trust_is_none_over_a_bundle(ceremony: Ceremony) -> None:
    """And neither do root keys sign bundles, nor keys for bundles in the namespace of trust."""
    policy = bundle_policy(ceremony.document(), Distrust())
    judge = make_judge(policy)
    for name, namespace in (("r1", NAMESPACE), ("r1", TRUST_NAMESPACE), ("alice", TRUST_NAMESPACE)):
        verdict = judge(MESSAGE, "s", sshkeygen.sign(MESSAGE, ceremony.key(name), namespace))
        with pytest.raises(SignatureRefused):
            count(policy, [verdict])


def test_signers_of_bundles_cannot_make_trust(ceremony: Ceremony) -> None:
    """However many of them sign a trust document, none counts."""
    files = ceremony.files(ceremony.document(2), "alice bob mallory")

    assert "0 of 2" in refusal(lambda: advance(ceremony.document(), files)).message


def test_revoked_root_keys_do_not_count(ceremony: Ceremony) -> None:
    """Whom a document leaves out or revokes has no say in the next one."""
    second = ceremony.document(2, "r2 r3 r4", revoked_keys=(ceremony.public("r1"), ceremony.public("r1b")))
    files = ceremony.files(replace(second, version=3), "r1 r2")

    assert "1 of 2" in refusal(lambda: advance(second, files)).message


def test_a_stolen_key_cannot_come_back(ceremony: Ceremony) -> None:
    """A key that was revoked stays revoked, and does not count even where it is listed."""
    stolen = ceremony.public("mallory")
    second = ceremony.document(2, revoked_keys=(stolen,))
    signers = (*second.signers, ceremony.signer("mallory", "bundle"))

    dropped = ceremony.files(ceremony.document(3))
    listed = ceremony.document(3, revoked_keys=(stolen,), signers=signers)
    judge = make_judge(bundle_policy(advance(second, ceremony.files(listed)), Distrust()))

    assert "is no longer revoked" in refusal(lambda: advance(second, dropped)).message
    verdict = judge(MESSAGE, "s", sshkeygen.sign(MESSAGE, ceremony.key("mallory"), NAMESPACE))
    assert verdict.reason == "the key of mallory is revoked"


def test_nothing_goes_back(ceremony: Ceremony) -> None:
    """Floors and epochs do not fall or vanish, revoked bundles stay so; all of it is listed."""
    epochs, floors = {"demo": 2, "tools": 1}, {"demo": 50, "tools": 5}
    high: dict[str, Any] = {"epochs": epochs, "floors": floors, "revoked_bundles": ("ab" * 32,)}
    low: dict[str, Any] = {"epochs": {"demo": 1}, "floors": {"demo": 49}}
    files = ceremony.files(ceremony.document(2, **low))

    error = refusal(lambda: advance(ceremony.document(**high), files))

    assert {problem.where for problem in error.problems} == {
        "epoch of demo", "epoch of tools", f"bundle {'ab' * 32}",
    }  # fmt: skip
    files = ceremony.files(ceremony.document(2, **{**high, "floors": {"demo": 49}}))
    problems = refusal(lambda: advance(ceremony.document(**high), files)).problems
    assert [str(problem) for problem in problems] == [
        "floor of demo: falls from 50 to 49", "floor of tools: falls from 5 to 0",
    ]  # fmt: skip


def test_a_new_epoch_begins_with_any_floor(ceremony: Ceremony) -> None:
    """After a sequence that was far too high an epoch resets the count, and the floor with it."""
    before = ceremony.document(floors={"demo": 2**52})
    after = ceremony.document(2, epochs={"demo": 1})

    assert advance(before, ceremony.files(after)) == after


def test_a_document_may_change_who_signs_bundles(ceremony: Ceremony) -> None:
    """Signers come and go and thresholds move in both directions if both quorums say so."""
    signers = tuple(one for one in ceremony.document().signers if one.name != "bob")
    second = ceremony.document(2, signers=signers, bundle_threshold=1, root_threshold=1)

    assert advance(ceremony.document(), ceremony.files(second)) == second


@pytest.mark.parametrize("many", ["signatures", "large signature", "list"])
def test_what_is_read_before_it_is_trusted_is_bounded(ceremony: Ceremony, many: str) -> None:
    """More than 32 signatures, one of more than 8 KiB, or a list of more than 1 MiB is not looked at."""
    files = ceremony.files(ceremony.document())
    files |= {
        "signatures": {signature_name(f"x{number}"): b"" for number in range(32)},
        "large signature": {signature_name("x"): bytes(8193)},
        "list": {SUMS: bytes(2**20 + 1)},
    }[many]

    assert re.search(
        "too many or too large|is larger than", refusal(lambda: bootstrap(files, digest_of(files))).message
    )


def test_one_key_has_one_form(ceremony: Ceremony) -> None:
    """Base64 that spells one key in a second way does not make a second signer of it."""
    kind, text = ceremony.public("p").split()
    other = f"{kind} {text[:-2]}{chr(ord(text[-2]) + 1)}="
    assert base64.b64decode(other.split()[1]) == base64.b64decode(text)
    signers = (ceremony.signer("p", "root"), replace(ceremony.signer("r4", "root"), keys=(other,)))
    document = ceremony.document(signers=(*signers, ceremony.signer("alice", "bundle")), bundle_threshold=1)
    files = ceremony.files(document, "p")

    assert "not written in its one form" in refusal(lambda: bootstrap(files, digest_of(files))).message


@pytest.mark.parametrize("kind", [ECDSA, SK_ED25519, SK_ECDSA])
def test_other_kinds_of_keys_can_be_root(ceremony: Ceremony, kind: str) -> None:
    """ECDSA P-256 and tokens sign trust as Ed25519 does, by both verifiers; an untouched token does not."""
    token = Token(kind) if kind != ECDSA else None
    key = str(token.public) if token else ceremony.public("p")
    root = replace(ceremony.signer("r4", "root"), keys=(key,))
    signers = (ceremony.signer("alice", "bundle"), root)
    document = ceremony.document(signers=signers, root_threshold=1, bundle_threshold=1)
    files = ceremony.files(document, "" if token else "p")
    if token:
        files[signature_name("r4")] = token.sign(files[SUMS], 0x01, TRUST_NAMESPACE)

    assert bootstrap(files, digest_of(files)) == document
    if token:
        files[signature_name("r4")] = token.sign(files[SUMS], 0x00, TRUST_NAMESPACE)
        error = refusal(lambda: bootstrap(files, digest_of(files)))
        assert "nobody touched" in str(error.problems)


def test_verifiers_that_disagree_over_trust_are_refused(ceremony: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one of the two verifiers says yes and the other no, no trust document is taken."""
    files = ceremony.files(ceremony.document())
    for side, verdict in ((sshkeygen, Verdict(file="s", reason="no")), (trust, Verdict(file="s", principal="r1"))):
        with monkeypatch.context() as patch:
            patch.setattr(side, "judge", lambda *_, verdict=verdict: verdict)
            with pytest.raises(VerifiersDisagree) as caught:
                check_quorum(ceremony.document(), files, "its own")
        assert caught.value.exit_code == 73


def test_distrust_takes_away(ceremony: Ceremony) -> None:
    """A signer or key that the site distrusts is no longer in the policy."""
    document = ceremony.document(bundle_threshold=1)

    by_name = bundle_policy(document, Distrust(signers=("alice",)))
    by_key = bundle_policy(document, Distrust(keys=(ceremony.fingerprint("alice"),)))

    assert [one.principal for one in by_name.signers] == [one.principal for one in by_key.signers] == ["bob"]


def test_distrust_adds_nobody_and_lowers_no_threshold(ceremony: Ceremony) -> None:
    """With two of two asked for and one distrusted, nothing can be installed; naming strangers changes nothing."""
    document = ceremony.document()
    stranger = Distrust(signers=("mallory",), keys=(ceremony.fingerprint("mallory"),))

    error = refusal(lambda: bundle_policy(document, Distrust(signers=("bob",))))

    assert error.message == "2 bundle signers must sign, still trusted here: alice"
    assert bundle_policy(document, stranger) == bundle_policy(document, Distrust())
    assert bundle_policy(document, stranger).threshold == 2


def test_a_root_signer_whom_the_site_distrusts_does_not_count(ceremony: Ceremony) -> None:
    """A root key whose theft was told by phone has no say, in the old quorum nor in the new one."""
    first, second = ceremony.document(), ceremony.document(2)
    distrust = Distrust(keys=(ceremony.fingerprint("r2"),))

    assert "1 of 2" in refusal(lambda: advance(first, ceremony.files(second, "r1 r2"), distrust)).message
    assert advance(first, ceremony.files(second, "r1 r3"), distrust) == second
    everybody = Distrust(signers=("r1", "r2"))
    assert "still trusted here: r3" in refusal(lambda: advance(first, ceremony.files(second), everybody)).message


@pytest.mark.parametrize("text", ["{}", "{} ", " {}\n", "grouped", "UPPER", "dashes"])
def test_a_digest_may_be_typed_as_it_stands_on_the_card(text: str) -> None:
    """Groups, blanks, hyphens and capitals do not matter."""
    digest = "0123456789abcdef" * 4
    groups = [digest[at : at + 8] for at in range(0, 64, 8)]
    typed = {"grouped": " ".join(groups), "UPPER": digest.upper(), "dashes": "-".join(groups)}

    assert root_digest(typed.get(text, text.format(digest))) == digest


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "g" * 64, "SHA256:" + "0" * 64, "٣" * 64])
def test_what_is_no_digest_is_refused(text: str) -> None:
    """Too short, too long, other letters: the person is asked to type all of it."""
    with pytest.raises(UsageError):
        root_digest(text)
