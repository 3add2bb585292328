"""``allowed_signers`` as we accept it: one principal, one namespace list, one key per line (ssh-keygen(1)).

    alice namespaces="bundle@offline" ssh-ed25519 AAAA… comment

Stricter than OpenSSH on purpose: always a namespace; no patterns, no ``cert-authority``, no validity options (old
OpenSSH rejects the line, and the air-gapped clock decides nothing); a key belongs to one principal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bundler.errors import FormatError, Problem
from bundler.signing.keys import PublicKey, parse_public_key

PRINCIPAL = re.compile(r"[a-z0-9-]{1,32}")
MAX_SIZE = 1 << 20
_LINE = re.compile(r'(?P<principal>\S+)[ \t]+namespaces="(?P<namespaces>[^"]*)"[ \t]+(?P<key>\S.*)')
_NAMESPACE = re.compile(r"[a-z0-9.@-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class AllowedSigner:
    """One line: who, for what, with which key."""

    principal: str
    namespaces: tuple[str, ...]
    key: PublicKey

    def __str__(self) -> str:
        return f'{self.principal} namespaces="{",".join(self.namespaces)}" {self.key}'


def parse_allowed_signers(data: bytes, where: str) -> tuple[AllowedSigner, ...]:
    """Return the lines of an allowed_signers file.

    Raises:
        FormatError: Listing every line that is not as described above.
    """
    parsed = [_parsed(line, f"{where} line {number}") for number, line in _lines(data, where)]
    signers = [entry for entry in parsed if isinstance(entry, AllowedSigner)]
    problems = [entry for entry in parsed if isinstance(entry, Problem)]
    owners: dict[bytes, str] = {}
    for signer in signers:
        if signer.key.blob in owners:
            problems.append(Problem(where=where, what=f"the key of {signer.principal} is listed twice"))
        owners[signer.key.blob] = signer.principal
    if not signers and not problems:
        problems.append(Problem(where=where, what="lists nobody"))
    if problems:
        raise FormatError(f"allowed signers: {problems[0]}", problems=problems)
    return tuple(signers)


def parse_revoked(data: bytes, where: str) -> frozenset[bytes]:
    """Return the key blobs of a file of public keys, one per line. Binary revocation lists are not read.

    Raises:
        FormatError: A line that is no public key.
    """
    if data.startswith(b"SSHKRL"):
        raise FormatError(f"{where}: is a binary revocation list", hint="list the public keys, one per line")
    return frozenset(_revoked(line, f"{where} line {number}").blob for number, line in _lines(data, where))


def _revoked(line: str, where: str) -> PublicKey:
    try:
        return parse_public_key(line)
    except FormatError as error:
        raise FormatError(f"{where}: {error.message}", hint=error.hint) from error


def format_allowed_signers(signers: Iterable[AllowedSigner]) -> bytes:
    """Return the file's bytes, lines sorted."""
    return "".join(sorted(f"{signer}\n" for signer in signers)).encode()


def _lines(data: bytes, where: str) -> Iterable[tuple[int, str]]:
    if len(data) > MAX_SIZE:
        raise FormatError(f"{where}: larger than {MAX_SIZE} bytes")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: is not ASCII text") from error
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip() and not line.strip().startswith("#")]


def _parsed(line: str, where: str) -> AllowedSigner | Problem:
    try:
        return _parse(line)
    except FormatError as error:
        return Problem(where=where, what=error.message, hint=error.hint)


def _parse(line: str) -> AllowedSigner:
    match = _LINE.fullmatch(line)
    if match is None:
        raise FormatError(
            'must be: PRINCIPAL namespaces="…" KEYTYPE KEY',
            hint="validity options, cert-authority and lines without a namespace are refused",
        )
    if PRINCIPAL.fullmatch(match["principal"]) is None:
        raise FormatError(
            f"{match['principal']!r} is no signer", hint="1 to 32 of a-z, 0-9 and -; no patterns, no lists"
        )
    namespaces = tuple(match["namespaces"].split(","))
    bad = [name for name in namespaces if _NAMESPACE.fullmatch(name) is None]
    if bad:
        raise FormatError(f"{bad[0]!r} is no namespace", hint="e.g. bundle@offline; no patterns")
    return AllowedSigner(principal=match["principal"], namespaces=namespaces, key=parse_public_key(match["key"]))
