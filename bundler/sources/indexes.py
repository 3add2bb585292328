"""Which indexes to use and how to reach them: the manifest's, else pip's own configuration.

pip's ``extra-index-url`` and ``find-links`` are not used: a public namesake there could be taken for a package of
the release (dependency confusion). Whoever needs them names them in the manifest.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from bundler.errors import ManifestError, Problem
from bundler.events import Emit, Warned
from bundler.model.index import IndexConfig, IndexSpec
from bundler.model.manifest import Index, Manifest
from bundler.process import Command, run
from bundler.sources.credentials import split_login, variables

#: What an index of pip's configuration is called in messages and environment variables.
PIP = "pip"
#: pip lets later sections win: a command's own over the general one, the environment over both.
_SECTIONS = ("global", "install", ":env:")
_UNUSED = ("extra-index-url", "find-links")


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The indexes, and the credentials that stood in their URLs as environment variables."""

    indexes: tuple[IndexSpec, ...]
    env: Mapping[str, str]


def index_config(manifest: Manifest, root: Path, emit: Emit) -> IndexConfig:
    """Return where packages come from; relative wheel folders are taken from ``root``.

    No index at all means that only the folders are used; an index without URL is the tools' own default.

    Raises:
        ManifestError: An index of the manifest has no usable URL, or one with credentials in it.
        CommandFailed: pip cannot read its configuration.
    """
    pip = read_pip_configuration()
    source = _of_manifest(manifest.indexes) if manifest.indexes else _of_pip(pip, emit)
    return IndexConfig(
        indexes=source.indexes,
        folders=tuple(root / folder for folder in manifest.wheel_folders),
        cert=pip.get("cert"),
        client_cert=pip.get("client-cert"),
        proxy=pip.get("proxy"),
        root=root.absolute(),
        env={**_connection(pip), **source.env},
    )


def read_pip_configuration() -> dict[str, str]:
    """Return the options of pip's configuration files and PIP_ variables, as `pip install` sees them."""
    listing = run(Command(argv=[sys.executable, "-m", "pip", "config", "list"]), timeout=60).text
    return parse_pip_configuration(listing)


def parse_pip_configuration(listing: str) -> dict[str, str]:
    """Return the options in the output of `pip config list`."""
    sections: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for line in listing.splitlines():
        key, sign, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if sign and section in sections:
            sections[section][option.replace("_", "-")] = _unquote(value)
    return {option: value for name in _SECTIONS for option, value in sections[name].items() if value}


def _unquote(value: str) -> str:
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value


def _of_manifest(indexes: tuple[Index, ...]) -> _Source:
    problems = list(_problems(indexes))
    if problems:
        raise ManifestError("the manifest's indexes cannot be used", problems=problems)
    specs = tuple(
        IndexSpec(name=index.name, url=index.url, packages=tuple(canonicalize_name(name) for name in index.packages))
        for index in indexes
    )
    return _Source(indexes=specs, env={})


def _problems(indexes: tuple[Index, ...]) -> Iterator[Problem]:
    for place, index in enumerate(indexes):
        where = f"indexes[{place}].url"
        try:
            _, login = split_login(index.url)
        except ValueError:
            yield Problem(where=where, what="is no URL")
            continue
        if login is not None:
            name, password = variables(index.name)
            yield Problem(
                where=where, what="holds credentials", hint=f"use netrc, a keyring, or {name} and {password}"
            )
        if index.url.partition(":")[0] not in ("http", "https", "file"):
            yield Problem(where=where, what="is not an http:, https: or file: URL")


def _of_pip(pip: Mapping[str, str], emit: Emit) -> _Source:
    unused = [option for option in _UNUSED if option in pip]
    if unused:
        emit(
            Warned(
                message=f"pip's configuration has {' and '.join(unused)}: not used, a namesake there could be taken",
                hint="name further indexes under indexes: and wheel folders under wheel_folders: in the manifest",
            )
        )
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return _Source(indexes=(), env={})
    url, login = split_login(pip.get("index-url", ""))
    env = dict(zip(variables(PIP), login, strict=True)) if login else {}
    return _Source(indexes=(IndexSpec(name=PIP, url=url or None),), env=env)


def _connection(pip: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables by which uv learns what pip is configured with."""
    values = {
        "SSL_CERT_FILE": pip.get("cert"),
        "SSL_CLIENT_CERT": pip.get("client-cert"),
        "HTTP_PROXY": pip.get("proxy"),
        "HTTPS_PROXY": pip.get("proxy"),
        "UV_HTTP_TIMEOUT": pip.get("timeout", pip.get("default-timeout")),
        "UV_INSECURE_HOST": " ".join(pip.get("trusted-host", "").split()),
    }
    return {name: value for name, value in values.items() if value}
