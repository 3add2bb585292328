"""FIDO tokens in software, for the tests of signatures and trust."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bundler.signing.keys import parse_key_blob, string

NAMESPACE = "bundle@offline"


def armor(raw: bytes) -> bytes:
    text = base64.b64encode(raw)
    lines = b"\n".join(text[start : start + 70] for start in range(0, len(text), 70))
    return b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"\n-----END SSH SIGNATURE-----\n"


class Token:
    """A FIDO token in software (PROTOCOL.u2f): signs as ``ssh-sk-helper`` would."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        if kind == "sk-ssh-ed25519@openssh.com":
            self.ed = ed25519.Ed25519PrivateKey.generate()
            point = string(self.ed.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        else:
            self.ec = ec.generate_private_key(ec.SECP256R1())
            encoded = self.ec.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            point = string(b"nistp256") + string(encoded)
        self.public = parse_key_blob(string(kind.encode()) + point + string(b"ssh:"))

    def sign(self, message: bytes, flags: int, namespace: str = NAMESPACE) -> bytes:
        digest = hashlib.sha512(message).digest()
        inner = b"SSHSIG" + string(namespace.encode()) + string(b"") + string(b"sha512") + string(digest)
        state = bytes([flags]) + (7).to_bytes(4, "big")
        signed = hashlib.sha256(b"ssh:").digest() + state + hashlib.sha256(inner).digest()
        raw = string(self.kind.encode()) + string(self._raw(signed)) + state
        head = b"SSHSIG" + (1).to_bytes(4, "big") + string(self.public.blob)
        return armor(head + string(namespace.encode()) + string(b"") + string(b"sha512") + string(raw))

    def _raw(self, signed: bytes) -> bytes:
        if self.kind == "sk-ssh-ed25519@openssh.com":
            return self.ed.sign(signed)
        pair = decode_dss_signature(self.ec.sign(signed, ec.ECDSA(hashes.SHA256())))
        return b"".join(string(number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in pair)
