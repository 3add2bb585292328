"""`sign` and `verify` as commands: checks before signing, later signatures, one line per refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import IntegrityError, PolicyRefused, SigningFailed, UsageError
from bundler.events import Noted
from bundler.model.contents import ProofEntry
from bundler.signing.development import development_key
from bundler.workflows.sign import SignRequest, sign
from bundler.workflows.verify import VerifyRequest, verify


def request(bundle: Path, keys: Any, name: str = "alice", **changes: Any) -> SignRequest:
    return SignRequest(**{"bundle": bundle, "key": keys.key(name), "signer": name, **changes})


def cli(program: str, *args: object, home: Path) -> subprocess.CompletedProcess[str]:
    """Run one of the two programs as installed, with a home of its own."""
    code = f"import bundler.cli.{program} as program; program.main()"
    env = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    argv = [sys.executable, "-c", code, *(str(arg) for arg in args)]
    return subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60, check=False)


def test_signers_are_added_one_by_one(make_bundle: Any, keys: Any) -> None:
    """A second signer adds a signature later; the first stays; both count; signing twice changes nothing."""
    bundle = make_bundle()
    first = sign(request(bundle, keys))
    before = first.path.read_bytes()

    second = sign(request(bundle, keys, "bob"))

    assert first.path.read_bytes() == before
    assert second.digest == first.digest
    assert second.allowed_signers_line.startswith('bob namespaces="bundle@offline" ssh-ed25519 AAAA')
    verified = verify(VerifyRequest(bundle=bundle, allowed_signers=keys.allowed, threshold=2))
    assert verified.quorum.signers == ("alice", "bob")
    assert sign(request(bundle, keys)).path.read_bytes() == before


@pytest.mark.parametrize("name", ["bundle.json", "debian-12-x86_64-001.tar.zst", "bundle-install"])
def test_a_changed_bundle_is_not_signed(make_bundle: Any, keys: Any, name: str) -> None:
    """Nobody signs a list that does not fit the files beside it."""
    bundle = make_bundle()
    data = bytearray((bundle / name).read_bytes())
    data[-5] ^= 1
    (bundle / name).write_bytes(data)

    with pytest.raises(IntegrityError, match=name):
        sign(request(bundle, keys))

    assert list(bundle.glob("*.sig")) == []


def test_an_unproved_bundle_is_signed_only_by_leave_of_its_manifest(
    make_bundle: Any, keys: Any, sampler: Any
) -> None:
    """Without a proof and without leave nothing is signed; with leave the verdict still says so."""
    bare = ProofEntry(level="none", passed=False, checks=0)
    with pytest.raises(PolicyRefused, match="keystone on debian-12-x86_64"):
        sign(request(make_bundle("one", sampler(proof=bare)), keys))
    leave = ProofEntry(level="none", passed=False, checks=0, unproved_allowed=True)

    assert sign(request(make_bundle("two", sampler(proof=leave)), keys)).path.is_file()


@pytest.mark.parametrize("signer", ["Alice", "", "a/b", "../a", "a b", "x" * 33, "a.sig"])
def test_a_signer_has_a_plain_name(make_bundle: Any, keys: Any, signer: str) -> None:
    """A name that is no signer, and so no file name, is refused."""
    with pytest.raises(UsageError):
        sign(request(make_bundle(), keys, signer=signer))


def test_a_key_that_cannot_sign_is_reported(
    make_bundle: Any, keys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, a key with a passphrase, a public key without an agent: each ends in one error and no file."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    bundle = make_bundle()
    alone = tmp_path / "alone.pub"
    alone.write_bytes(keys.key("bob.pub").read_bytes())
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked], check=True)
    wrong = tmp_path / "wrong"
    wrong.write_bytes(keys.key("alice").read_bytes())
    wrong.chmod(0o600)
    wrong.with_name("wrong.pub").write_bytes(keys.key("bob.pub").read_bytes())
    cases = {tmp_path / "none": UsageError, locked: SigningFailed, alone: SigningFailed, wrong: SigningFailed}

    for key, error in cases.items():
        with pytest.raises(error):
            sign(request(bundle, keys, key=key))

    assert list(bundle.glob("*.sig")) == []


def test_an_agent_signs_with_a_public_key(make_bundle: Any, keys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .pub file is signed with by the agent that holds the key."""
    bundle = make_bundle()
    out = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    values = dict(part.split("=", 1) for part in out.replace("\n", ";").split(";") if "=" in part)
    try:
        for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID"):
            monkeypatch.setenv(name, values[name])
        subprocess.run(["ssh-add", "-q", keys.key("alice")], check=True, capture_output=True)

        sign(request(bundle, keys, key=keys.key("alice.pub")))
    finally:
        os.kill(int(values["SSH_AGENT_PID"]), 15)

    assert verify(VerifyRequest(bundle=bundle, allowed_signers=keys.allowed)).quorum.signers == ("alice",)


def test_the_commands_sign_and_verify(make_bundle: Any, tmp_path: Path, keys: Any) -> None:
    """With the development key neither command needs an option; the result is text or JSON."""
    bundle = make_bundle()
    events: list[Any] = []
    key = development_key(tmp_path / "config" / "bundle-build", "bundle@offline", events.append)
    assert isinstance(events[0], Noted)

    signed = cli("build", "sign", bundle, home=tmp_path)
    verified = cli("build", "verify", "--json", "--deep", bundle, home=tmp_path)
    installed = cli("install", "verify", "--allowed-signers", key.allowed_signers, bundle, home=tmp_path)

    assert signed.returncode == 0, signed.stderr
    assert str(bundle / "SHA256SUMS.development.sig") in signed.stdout
    assert json.loads(verified.stdout)["signers"] == ["development"]
    assert "accepted, signed by development (single signer)" in installed.stdout
    assert "2 of 2 venvs proved" in installed.stdout


def test_a_refusal_is_one_line_with_its_number(bundle: Path, keys: Any, tmp_path: Path) -> None:
    """The command ends with the rule's exit status and says which file."""
    (bundle / "evil").write_bytes(b"")

    done = cli("install", "verify", "--allowed-signers", keys.allowed, bundle, home=tmp_path)
    as_json = cli("install", "verify", "--json", "--allowed-signers", keys.allowed, bundle, home=tmp_path)
    site = ("--config-dir", tmp_path / "etc", "--state-dir", tmp_path / "var")
    nobody = cli("install", "verify", bundle, *site, home=tmp_path)

    assert done.returncode == as_json.returncode == 65
    assert "'evil' is not listed in SHA256SUMS" in done.stderr
    assert "FileUnlisted" in as_json.stderr
    assert "Traceback" not in done.stderr + as_json.stderr + nobody.stderr
    assert nobody.returncode == 74
    assert not (tmp_path / "var").exists()


def test_without_ssh_keygen_our_own_verifier_judges_and_says_so(
    bundle: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without ssh-keygen still verifies, with a warning."""
    monkeypatch.setenv("PATH", "/nonexistent")
    events: list[Any] = []

    verified = verify(VerifyRequest(bundle=bundle, allowed_signers=keys.allowed), events.append)

    assert verified.quorum.signers == ("alice",)
    assert "ssh-keygen is not installed" in events[0].message
