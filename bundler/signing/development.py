"""The development key: made for the first run, so that a bundle is signed at all. It vouches for nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import SigningFailed
from bundler.events import Emit, Noted
from bundler.files import fsync_directory, partial_name, write
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import AllowedSigner, format_allowed_signers
from bundler.signing.keys import parse_public_key

SIGNER = "development"


@dataclass(frozen=True, kw_only=True)
class DevelopmentKey:
    """Where the private key and the matching allowed_signers file lie."""

    key: Path
    allowed_signers: Path
    signer: str = SIGNER


def config_directory() -> Path:
    """Return the user's configuration directory of this program (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "bundle-build"


def find_development_key(directory: Path) -> DevelopmentKey | None:
    """Return the development key below a configuration directory if it was made already."""
    place = directory / "development-key"
    found = DevelopmentKey(key=place / "key", allowed_signers=place / "allowed_signers")
    return found if found.key.is_file() and found.allowed_signers.is_file() else None


def development_key(directory: Path, namespace: str, emit: Emit) -> DevelopmentKey:
    """Return the development key below a configuration directory; make it, and say so, where there is none.

    Raises:
        SigningFailed: The directory cannot be written.
    """
    found = find_development_key(directory)
    if found is None:
        try:
            found = _make(directory, namespace)
        except OSError as error:
            raise SigningFailed(
                f"cannot make a development key in {directory}: {error.strerror}", hint="give a key with --key"
            ) from error
        emit(
            Noted(
                message=f"made a development key, {found.key}: it is good for trying things out. "
                "Sign real bundles with a key that a person or an agent holds (bundle-build sign)."
            )
        )
    return found


def _make(directory: Path, namespace: str) -> DevelopmentKey:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = directory / "development-key"
    temporary = partial_name(place)
    temporary.mkdir(mode=0o700)
    try:
        sshkeygen.generate(temporary / "key", SIGNER)
        public = parse_public_key((temporary / "key.pub").read_text("utf-8").strip())
        signer = AllowedSigner(principal=SIGNER, namespaces=(namespace,), key=public)
        write(temporary / "allowed_signers", format_allowed_signers([signer]))
        # Loses against another run that was faster: its key is then the one.
        with contextlib.suppress(OSError):
            temporary.rename(place)
        fsync_directory(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    found = find_development_key(directory)
    if found is None:
        raise SigningFailed(f"{place} exists but has no key in it", hint="remove it")
    return found
