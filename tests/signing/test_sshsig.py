"""Our verifier against ssh-keygen, key by key; the strict allowed_signers; the development key."""

from __future__ import annotations

import base64
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import BundlerError, FormatError, SignatureRefused, SigningFailed, UsageError, VerifiersDisagree
from bundler.signing import sshkeygen, sshsig, trust
from bundler.signing.allowed_signers import (
    AllowedSigner,
    format_allowed_signers,
    parse_allowed_signers,
    parse_revoked,
)
from bundler.signing.check import make_judge
from bundler.signing.development import development_key, find_development_key
from bundler.signing.keys import PublicKey, parse_public_key
from bundler.signing.trust import Policy, Verdict, count
from tests.tokens import Token, armor

NAMESPACE = "bundle@offline"
MESSAGE = b"a" * 64 + b"  bundle.json\n"


def generate(path: Path, kind: str, *options: str) -> Path:
    argv = ["ssh-keygen", "-q", "-t", kind, *options, "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module", params=["ed25519", "ecdsa"])
def key(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("key") / "key", request.param)


@pytest.fixture(scope="module")
def armored(key: Path) -> bytes:
    return sshkeygen.sign(MESSAGE, key, NAMESPACE)


def policy_for(public: PublicKey, **changes: Any) -> Policy:
    signer = AllowedSigner(principal="alice", namespaces=(NAMESPACE,), key=public)
    return Policy(**{"signers": (signer,), "namespace": NAMESPACE, **changes})


def test_both_verifiers_accept_what_ssh_keygen_signs(key: Path, armored: bytes) -> None:
    """A good signature of each kind of software key is accepted by both."""
    policy = policy_for(sshkeygen.public_key(key))

    assert trust.judge(policy, MESSAGE, "s", armored).principal == "alice"
    assert sshkeygen.judge(policy, MESSAGE, "s", armored).principal == "alice"
    assert make_judge(policy)(MESSAGE, "s", armored).principal == "alice"


def test_both_verifiers_refuse_the_same(key: Path, armored: bytes) -> None:
    """Another message, namespace, key, list of namespaces, or a revoked key: refused by both."""
    public = sshkeygen.public_key(key)
    policy = policy_for(public)
    elsewhere = AllowedSigner(principal="alice", namespaces=("trust@offline",), key=public)
    other = AllowedSigner(
        principal="bob", namespaces=(NAMESPACE,), key=sshkeygen.public_key(generate(key.with_name("o"), "ed25519"))
    )
    cases = {
        "other message": (policy, MESSAGE + b"x", armored),
        "other namespace": (policy, MESSAGE, sshkeygen.sign(MESSAGE, key, "trust@offline")),
        "other key": (Policy(signers=(other,), namespace=NAMESPACE), MESSAGE, armored),
        "not trusted for it": (Policy(signers=(elsewhere, other), namespace=NAMESPACE), MESSAGE, armored),
        "revoked": (policy_for(public, revoked=frozenset([public.blob])), MESSAGE, armored),
        "empty": (policy, MESSAGE, b""),
    }
    for what, (chosen, message, signature) in cases.items():
        assert not trust.judge(chosen, message, "s", signature).principal, what
        assert not sshkeygen.judge(chosen, message, "s", signature).principal, what
    (key.with_name("o")).unlink()


def test_a_changed_signature_never_counts(key: Path, armored: bytes) -> None:
    """Any byte changed inside the armor gives a refusal by our verifier, never another error."""
    policy = policy_for(sshkeygen.public_key(key))
    raw = base64.b64decode(b"".join(armored.splitlines()[1:-1]))

    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 0x01
        verdict = trust.judge(policy, MESSAGE, "s", armor(bytes(changed)))
        assert not verdict.principal, position
        assert verdict.reason


def test_only_the_one_form_of_a_signature_counts(key: Path, armored: bytes) -> None:
    """Bytes around or inside the armor, which ssh-keygen lets pass, are refused; that is no disagreement."""
    judge = make_judge(policy_for(sshkeygen.public_key(key)))
    # The last digit before padding has bits that say nothing; without padding there is none.
    last = armored.find(b"=")
    other = armored[: last - 1] + bytes([armored[last - 1] + 1]) + armored[last:] if last > 0 else b""
    cases = [
        armored[:-1], armored + b"\n", armored + b"x", armored + b"\0", b"\n" + armored, armored * 2,
        armored.replace(b"\n", b"\r\n"), armored.replace(b"\n", b"\n\n"), armored.replace(b"\n", b" \n"),
    ]  # fmt: skip

    for case in cases:
        assert "no SSH signature" in judge(MESSAGE, "s", case).reason, case
    assert not judge(MESSAGE, "s", other).principal


@given(st.binary(max_size=400))
def test_the_signature_parser_raises_nothing_but_format_errors(raw: bytes) -> None:
    """Noise inside or in the place of the armor is a FormatError."""
    for data in (raw, armor(raw), armor(b"SSHSIG\0\0\0\1" + raw)):
        with pytest.raises(FormatError):
            sshsig.parse_signature(data)


@pytest.mark.parametrize("kind", ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"])
def test_tokens_count_if_they_were_touched(kind: str) -> None:
    """A token's signature is accepted by both verifiers; without a touch we refuse what ssh-keygen lets pass."""
    token = Token(kind)
    policy = policy_for(token.public)

    assert make_judge(policy)(MESSAGE, "s", token.sign(MESSAGE, 0x01)).principal == "alice"
    untouched = make_judge(policy)(MESSAGE, "s", token.sign(MESSAGE, 0x00))
    assert "nobody touched" in untouched.reason
    assert not trust.judge(policy, MESSAGE + b"x", "s", token.sign(MESSAGE, 0x01)).principal


def test_a_disagreement_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one verifier says yes and the other no, whichever it is, nothing is accepted."""
    key = generate(tmp_path / "key", "ed25519")
    judge = make_judge(policy_for(sshkeygen.public_key(key)))
    armored = sshkeygen.sign(MESSAGE, key, NAMESPACE)

    monkeypatch.setattr(sshkeygen, "judge", lambda *_: Verdict(file="s", reason="no"))
    with pytest.raises(VerifiersDisagree):
        judge(MESSAGE, "s", armored)
    monkeypatch.setattr(sshkeygen, "judge", lambda *_: Verdict(file="s", principal="alice"))
    with pytest.raises(VerifiersDisagree):
        judge(MESSAGE + b"x", "s", armored)
    monkeypatch.setattr(sshkeygen, "judge", lambda *_: Verdict(file="s", principal="bob"))
    with pytest.raises(VerifiersDisagree):
        judge(MESSAGE, "s", armored)


@pytest.mark.parametrize("kind", ["rsa", "dsa-like", "certificate"])
def test_other_keys_are_refused(tmp_path: Path, kind: str) -> None:
    """RSA keys, certificates and unknown kinds are named and refused."""
    if kind == "rsa":
        generate(tmp_path / "key", "rsa", "-b", "2048")
        line = (tmp_path / "key.pub").read_text()
    elif kind == "certificate":
        ca, key = generate(tmp_path / "ca", "ed25519"), generate(tmp_path / "key", "ed25519")
        subprocess.run(["ssh-keygen", "-q", "-s", ca, "-I", "x", f"{key}.pub"], check=True)
        line = (tmp_path / "key-cert.pub").read_text()
    else:
        line = "ssh-dss AAAA"

    with pytest.raises(FormatError, match="is not accepted"):
        parse_public_key(line.strip())


ED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0"


def test_allowed_signers_round_trip() -> None:
    """Comments, blank lines, blanks and key comments are read; the written form is read again."""
    text = f'# people\n\n  alice   namespaces="{NAMESPACE},trust@offline"  {ED} alice at work\n'

    signers = parse_allowed_signers(text.encode(), "f")

    assert [(s.principal, s.namespaces) for s in signers] == [("alice", (NAMESPACE, "trust@offline"))]
    assert str(signers[0].key) == ED
    assert parse_allowed_signers(format_allowed_signers(signers), "f") == signers


@pytest.mark.parametrize(
    "line",
    [
        f"alice {ED}",
        f'alice namespaces="" {ED}',
        f'alice namespaces="*" {ED}',
        f'alice namespaces="bundle@*" {ED}',
        f'* namespaces="{NAMESPACE}" {ED}',
        f'alice,bob namespaces="{NAMESPACE}" {ED}',
        f'alice@example namespaces="{NAMESPACE}" {ED}',
        f'!alice namespaces="{NAMESPACE}" {ED}',
        f'alice cert-authority,namespaces="{NAMESPACE}" {ED}',
        f'alice namespaces="{NAMESPACE}",cert-authority {ED}',
        f'alice namespaces="{NAMESPACE}",valid-after="20200101" {ED}',
        f'alice valid-before="20300101",namespaces="{NAMESPACE}" {ED}',
        f'alice namespaces="{NAMESPACE}" {ED[:-4]}',
        f'alice namespaces="{NAMESPACE}" {ED}AAAA',
        f'alice namespaces="{NAMESPACE}" ssh-ed25519 !!!!',
        f'alice namespaces="{NAMESPACE}" ssh-ed25519',
        f'alice namespaces="{NAMESPACE}" ecdsa-sha2-nistp256 {ED.split()[1]}',
        f'alice namespaces="{NAMESPACE}"',
        f'alice namespaces="{NAMESPACE}" {ED}\nbob namespaces="{NAMESPACE}" {ED}',
        "älice",
        "",
        "# nobody",
    ],
)
def test_lines_that_grant_more_than_they_say_are_refused(line: str) -> None:
    """No line without a namespace, with patterns, authorities or validity, no key twice, no empty list."""
    with pytest.raises(FormatError):
        parse_allowed_signers((line + "\n").encode(), "allowed")


def test_all_wrong_lines_are_reported() -> None:
    """Each wrong line is a problem with its number."""
    with pytest.raises(FormatError) as caught:
        parse_allowed_signers(f'x\nalice namespaces="{NAMESPACE}" {ED}\ny\n'.encode(), "f")

    assert [problem.where for problem in caught.value.problems] == ["f line 1", "f line 3"]


def test_revoked_keys_are_plain_lines() -> None:
    """Public keys, one per line; a binary list is refused rather than ignored."""
    assert parse_revoked(f"# gone\n{ED} x\n".encode(), "f") == {parse_public_key(ED).blob}
    for bad in (b"SSHKRL\n\0\0", b"SHA256:abc\n"):
        with pytest.raises(FormatError):
            parse_revoked(bad, "f")


def test_a_quorum_counts_signers_not_signatures() -> None:
    """Doubles and refused signatures are listed with the reason."""
    signers = tuple(
        AllowedSigner(principal=name, namespaces=(NAMESPACE,), key=parse_public_key(ED)) for name in ("a", "b")
    )
    policy = Policy(signers=signers, namespace=NAMESPACE, threshold=2)
    verdicts = [
        Verdict(file="1", principal="a"), Verdict(file="2", principal="a"), Verdict(file="3", reason="bad"),
    ]  # fmt: skip

    with pytest.raises(SignatureRefused, match="1 of 2") as caught:
        count(policy, verdicts)
    assert len(caught.value.problems) == 2
    assert count(policy, [*verdicts, Verdict(file="4", principal="b")]).signers == ("a", "b")


@pytest.mark.parametrize("threshold", [0, -1, 2])
def test_an_empty_policy_is_an_error(threshold: int) -> None:
    """A threshold of nobody, or of more than there are, is refused when the policy is made."""
    with pytest.raises(UsageError):
        policy_for(parse_public_key(ED), threshold=threshold)


def test_the_development_key_is_made_once(tmp_path: Path) -> None:
    """The first run makes a private key that only the user can read, says so, and later runs use the same."""
    events: list[Any] = []
    config = tmp_path / "config" / "bundle-build"
    assert find_development_key(config) is None

    first = development_key(config, NAMESPACE, events.append)
    second = development_key(config, NAMESPACE, events.append)

    assert first == second == find_development_key(config)
    assert len(events) == 1
    assert str(first.key) in events[0].message
    assert stat.S_IMODE(first.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.key.parent.stat().st_mode) == 0o700
    signers = parse_allowed_signers(first.allowed_signers.read_bytes(), "f")
    assert [signer.principal for signer in signers] == ["development"]
    assert [entry.name for entry in config.iterdir()] == ["development-key"]


def test_a_development_key_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """A file in the place of the directory, or a half-made one, ends in one error."""
    (tmp_path / "file").touch()
    (tmp_path / "half" / "development-key").mkdir(parents=True)
    (tmp_path / "half" / "development-key" / "x").touch()

    for place in (tmp_path / "file" / "sub", tmp_path / "half"):
        with pytest.raises((SigningFailed, BundlerError)):
            development_key(place, NAMESPACE, lambda _: None)
