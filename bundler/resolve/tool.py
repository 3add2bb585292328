"""Running a resolver's program apart from the user's configuration of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from bundler.errors import BundlerError, FetchFailed, Problem, ResolutionFailed
from bundler.model.index import IndexConfig
from bundler.model.requirement import CREDENTIALS_HINT

_DROPPED = ("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV", "CONDA_")
_KEPT = (
    "UV_CACHE_DIR",
    "UV_CONCURRENT_",
    "UV_HTTP_",
    "UV_INDEX_",
    "UV_INSECURE_HOST",
    "UV_KEYRING_PROVIDER",
    "UV_NATIVE_TLS",
    "UV_OFFLINE",
    "UV_SYSTEM_CERTS",
)
#: Variables of an index list are no credentials.
_NEVER_KEPT = frozenset({"UV_INDEX_URL", "UV_INDEX_STRATEGY"})
_SECRET = ("PASSWORD", "TOKEN", "SECRET", "USERNAME")
_NETWORK = ("failed to fetch", "error sending request", "connection", "timed out", "401", "403", "certificate")
#: Programs that a resolver starts keep their configuration; the resolver's own is left behind.
_COMPANIONS = ("git", "python_keyring")
#: Messages are read line by line: none is to be folded to the width of somebody's terminal.
_ONE_STYLE = {"NO_COLOR": "1", "LC_ALL": "C.UTF-8", "COLUMNS": "10000"}


def environment(config: IndexConfig, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a resolver: ours less what configures pip and uv, plus what the indexes need."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _NEVER_KEPT and (not name.startswith(_DROPPED) or name.startswith(_KEPT))
    }
    return {**kept, **config.env, **_ONE_STYLE, **more}


def secrets_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values that no message may hold."""
    return tuple(value for name, value in env.items() if value and any(mark in name.upper() for mark in _SECRET))


def bare_configuration(directory: Path, program: str) -> dict[str, str]:
    """Return variables by which ``program`` finds an empty configuration below ``directory``, and no other."""
    (directory / program).mkdir(parents=True)
    (directory / program / f"{program}.toml").write_bytes(b"")
    real = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for companion in _COMPANIONS:
        if (real / companion).is_dir():
            (directory / companion).symlink_to(real / companion)
    return {"XDG_CONFIG_HOME": str(directory), "XDG_CONFIG_DIRS": str(directory)}


def refused(indexes: IndexConfig, refusals: Iterable[tuple[str, str]]) -> FetchFailed:
    """Return the error for indexes that want other credentials: their addresses, and what they said."""
    names = {(index.url or "").rstrip("/"): f"index {index.name}" for index in indexes.indexes}
    return FetchFailed(
        "an index refuses to answer without valid credentials",
        hint=CREDENTIALS_HINT,
        problems=[Problem(where=names.get(url.rstrip("/"), "index"), what=f"{url}: {why}") for url, why in refusals],
    )


def failure(program: str, text: str) -> BundlerError:
    """Return the error for a run that ended badly for another reason than a conflict."""
    lower = text.lower()
    if any(mark in lower for mark in _NETWORK):
        return FetchFailed(
            f"{program} could not read an index or a source:\n{text}",
            hint="check the network, the proxy and the credentials, then run again",
        )
    return ResolutionFailed(
        f"{program} could not resolve:\n{text}",
        hint="if one package is the cause, constrain it to another version",
    )
