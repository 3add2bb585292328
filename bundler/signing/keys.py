"""SSH public keys and the wire format that they and signatures are written in (RFC 4251 section 5, RFC 4253 6.6).

Ed25519, ECDSA P-256 and their FIDO forms (PROTOCOL.u2f). RSA, DSA and certificates are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from bundler.errors import FormatError

ED25519 = "ssh-ed25519"
ECDSA = "ecdsa-sha2-nistp256"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
FIDO = (SK_ED25519, SK_ECDSA)
KINDS = (ED25519, ECDSA, SK_ED25519, SK_ECDSA)
_CURVE = b"nistp256"

VerifyKey: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


class Wire:
    """Reads the fields of an SSH wire format in order; every error is a FormatError."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        if len(self._data) < size:
            raise FormatError("ends too early")
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def integer(self) -> int:
        """Return the next uint32."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Return the next string."""
        return self.take(self.integer())

    def mpint(self) -> int:
        """Return the next non-negative mpint, which must have its one shortest form."""
        data = self.string()
        value = int.from_bytes(data, "big", signed=True)
        if value < 0 or data != (value.to_bytes(value.bit_length() // 8 + 1, "big") if value else b""):
            raise FormatError("has a number that is not in its shortest form")
        return value

    def end(self) -> None:
        """Refuse anything that is left."""
        if self._data:
            raise FormatError("has bytes after its end")


def string(data: bytes) -> bytes:
    """Return ``data`` as a string of the wire format."""
    return len(data).to_bytes(4, "big") + data


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """A public key: its kind, its wire format, and the application of a FIDO key (else empty)."""

    kind: str
    blob: bytes
    application: bytes

    def __str__(self) -> str:
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """Return ``SHA256:…`` as ssh-keygen -l shows it."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def verify_key(self) -> VerifyKey:
        """Return the key for the cryptographic check."""
        wire = Wire(self.blob)
        wire.string()
        return _point(self.kind, wire)


def parse_public_key(line: str) -> PublicKey:
    """Return the key of a line ``KEYTYPE BASE64 [comment]``.

    Raises:
        FormatError: It is damaged or of a kind that is not accepted.
    """
    kind, rest = [*line.split(maxsplit=1), "", ""][:2]
    if kind not in KINDS:
        raise FormatError(f"key type {kind[:60]!r} is not accepted", hint=f"accepted: {', '.join(KINDS)}")
    try:
        blob = base64.b64decode((rest.split() or [""])[0], validate=True)
    except binascii.Error as error:
        raise FormatError("the key is not base64") from error
    key = parse_key_blob(blob)
    if key.kind != kind:
        raise FormatError(f"the line says {kind}, the key is {key.kind}")
    return key


def parse_key_blob(blob: bytes) -> PublicKey:
    """Return the key that ``blob`` is the wire format of.

    Raises:
        FormatError: It is damaged or of a kind that is not accepted.
    """
    wire = Wire(blob)
    kind = wire.string().decode("ascii", "replace")
    if kind not in KINDS:
        raise FormatError(f"key type {kind[:60]!r} is not accepted", hint=f"accepted: {', '.join(KINDS)}")
    _point(kind, wire)
    application = wire.string() if kind in FIDO else b""
    wire.end()
    return PublicKey(kind=kind, blob=blob, application=application)


def _point(kind: str, wire: Wire) -> VerifyKey:
    try:
        if kind in (ED25519, SK_ED25519):
            return ed25519.Ed25519PublicKey.from_public_bytes(wire.string())
        if wire.string() != _CURVE:
            raise FormatError("the key is on another curve")
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), wire.string())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(f"the key is not valid: {error}") from error
