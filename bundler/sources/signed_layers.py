"""Constraint layers that must be signed: the signature stands beside the file, wherever that comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bundler.errors import BundlerError, SignatureRefused
from bundler.model.contents import MAX_SIGNATURE
from bundler.model.manifest import ConstraintLayer
from bundler.signing.allowed_signers import MAX_SIZE, AllowedSigner, parse_allowed_signers
from bundler.signing.documents import check_document


def check_layer(layer: ConstraintLayer, data: bytes, root: Path, read_signature: Callable[[], bytes]) -> str:
    """Return who signed ``data``, the content of ``layer``; nothing where it names no signers.

    ``root`` is the manifest's directory.

    Raises:
        SignatureRefused: None of the layer's signers did, or the signature cannot be had.
        FormatError: The file of signers is malformed, or cannot be read.
    """
    if layer.signers is None:
        return ""
    signers = _signers(root / layer.signers, layer.signers)
    try:
        armored = read_signature()
    except (BundlerError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SignatureRefused(
            f"its signature cannot be had: {reason}",
            hint="it is beside the file, called like it with .sig; take signers: away to do without",
        ) from error
    if len(armored) > MAX_SIGNATURE:
        raise SignatureRefused(f"its signature is longer than {MAX_SIGNATURE} bytes")
    return check_document(data, armored, signers, layer.file or layer.name)


def _signers(path: Path, shown: str) -> tuple[AllowedSigner, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise SignatureRefused(
            f"cannot read its signers, {shown}: {error.strerror}", hint="paths are relative to the manifest"
        ) from error
    return parse_allowed_signers(data, shown)
