"""Our own check of SSH signatures (OpenSSH's PROTOCOL.sshsig), beside ssh-keygen's: both have to agree."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bundler.errors import FormatError, SignatureRefused
from bundler.model.contents import MAX_SIGNATURE
from bundler.signing.keys import FIDO, PublicKey, Wire, parse_key_blob, string

_MAGIC = b"SSHSIG"
_VERSION = 1
_ARMOR = re.compile(rb"-----BEGIN SSH SIGNATURE-----\n(?P<lines>(?:[A-Za-z0-9+/=]+\n)+)-----END SSH SIGNATURE-----\n")
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_USER_PRESENT = 0x01


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A parsed signature. ``flags`` and ``counter`` are a FIDO token's."""

    key: PublicKey
    namespace: str
    hash: bytes
    raw: bytes
    flags: int = 0
    counter: int = 0


def parse_signature(armored: bytes) -> Signature:
    """Return the parts of an armored signature.

    Raises:
        FormatError: It is not exactly one signature of an accepted kind.
    """
    if len(armored) > MAX_SIGNATURE:
        raise FormatError(f"signature is larger than {MAX_SIGNATURE} bytes")
    match = _ARMOR.fullmatch(armored)
    if match is None:
        raise FormatError("is no SSH signature, or has bytes around it")
    text = match["lines"].replace(b"\n", b"")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise FormatError("the signature is not base64") from error
    if base64.b64encode(data) != text:
        raise FormatError("the signature is not in the one form that base64 has for it")
    wire = Wire(data)
    if wire.take(len(_MAGIC)) != _MAGIC or wire.integer() != _VERSION:
        raise FormatError("is no SSH signature of version 1")
    key = parse_key_blob(wire.string())
    namespace = wire.string().decode("utf-8", "replace")
    if wire.string():
        raise FormatError("has something in the reserved field")
    name = wire.string()
    if name not in _HASHES:
        raise FormatError(f"hash {name[:20]!r} is not accepted")
    inner = Wire(wire.string())
    wire.end()
    return _inner(inner, key, namespace, name)


def _inner(wire: Wire, key: PublicKey, namespace: str, name: bytes) -> Signature:
    if wire.string().decode("ascii", "replace") != key.kind:
        raise FormatError("the signature is of another kind than its key")
    raw = wire.string()
    flags, counter = (wire.take(1)[0], wire.integer()) if key.kind in FIDO else (0, 0)
    wire.end()
    return Signature(key=key, namespace=namespace, hash=name, raw=raw, flags=flags, counter=counter)


def check_touch(signature: Signature) -> None:
    """Refuse what a FIDO token signed on its own; ssh-keygen lets it pass.

    Raises:
        SignatureRefused: Nobody touched the token.
    """
    if signature.key.kind in FIDO and not signature.flags & _USER_PRESENT:
        raise SignatureRefused("was made by a token that nobody touched")


def verify(message: bytes, signature: Signature, namespace: str) -> None:
    """Check that the signature's key signed ``message`` in ``namespace``, by a touch where it is a FIDO key.

    Raises:
        SignatureRefused: It did not.
    """
    check_touch(signature)
    if signature.namespace != namespace:
        raise SignatureRefused(f"was made for namespace {signature.namespace[:64]!r}, not {namespace!r}")
    digest = _HASHES[signature.hash](message).digest()
    signed = _MAGIC + string(namespace.encode()) + string(b"") + string(signature.hash) + string(digest)
    if signature.key.kind in FIDO:
        signed = (
            hashlib.sha256(signature.key.application).digest()
            + bytes([signature.flags])
            + signature.counter.to_bytes(4, "big")
            + hashlib.sha256(signed).digest()
        )
    try:
        _check(signature, signed)
    except (InvalidSignature, FormatError, ValueError) as error:
        raise SignatureRefused("does not fit: the signed bytes or the signature were changed") from error


def _check(signature: Signature, signed: bytes) -> None:
    key = signature.key.verify_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature.raw, signed)
        return
    wire = Wire(signature.raw)
    pair = encode_dss_signature(wire.mpint(), wire.mpint())
    wire.end()
    key.verify(pair, signed, ec.ECDSA(hashes.SHA256()))
