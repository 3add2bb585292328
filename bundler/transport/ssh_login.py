"""With which keys to log in, for the paramiko driver: an identity file, or what an agent holds."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from bundler.errors import HostUnreachable
from bundler.transport.known_hosts import fingerprint


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A key to try, and what to call it."""

    key: paramiko.PKey
    source: str

    def __str__(self) -> str:
        return f"{fingerprint(self.key.asbytes())} ({self.source})"


def candidates(identity: str, held: Sequence[paramiko.AgentKey]) -> tuple[Candidate, ...]:
    """Return the keys to try. ``held`` are the agent's; with an identity only that one counts.

    Raises:
        HostUnreachable: The identity cannot be used, or there is no key at all.
    """
    if not identity:
        if not held:
            raise HostUnreachable(
                "there is no key to log in with",
                hint="set ssh.identity in site.yaml, or start an agent and ssh-add a key",
            )
        return tuple(Candidate(key=key, source=f"agent: {key.comment}") for key in held)
    path = Path(identity).expanduser()
    blob = _public(path)
    for key in held:
        if key.asbytes() == blob:
            return (Candidate(key=key, source=f"agent, for {path}"),)
    return (Candidate(key=_load(path), source=str(path)),)


def log_in(session: paramiko.Transport, user: str, keys: Sequence[Candidate]) -> None:
    """Log in with the first key that is accepted.

    Raises:
        HostUnreachable: None is; the message names them all.
    """
    for candidate in keys:
        try:
            session.auth_publickey(user, candidate.key)
        except paramiko.AuthenticationException:
            if not session.is_active():
                break
            continue
        if session.is_authenticated():
            return
    tried = ", ".join(str(candidate) for candidate in keys)
    raise HostUnreachable(
        f"does not let {user} in; tried {tried}",
        hint=f"add the public key to {user}'s authorized_keys there; sshd's log has the reason",
    )


def _public(path: Path) -> bytes:
    """Return the public half of an identity, from itself or from beside it; empty if it is not there."""
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        return base64.b64decode(public.read_text("utf-8").split()[1], validate=True)
    except (OSError, IndexError, ValueError, binascii.Error):
        return b""


def _load(path: Path) -> paramiko.PKey:
    if path.suffix == ".pub":
        raise HostUnreachable(f"the agent does not hold {path}", hint=f"ssh-add {path.with_suffix('')}")
    try:
        return paramiko.PKey.from_path(path)
    except (TypeError, paramiko.PasswordRequiredException) as error:
        raise HostUnreachable(
            f"the identity {path} has a passphrase, and no agent holds it", hint=f"ssh-add {path}"
        ) from error
    except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise HostUnreachable(f"the identity {path} cannot be used: {reason}") from error
