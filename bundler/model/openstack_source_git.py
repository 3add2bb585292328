"""OpenStack-Ansible's pins of git sources: ``inventory/group_vars/<group>/source_git.yml``.

For each source ``<x>`` they have ``<x>_git_repo``, ``<x>_git_install_branch`` (what is installed) and
``<x>_git_track_branch`` (where that was taken from). Addresses begin with Jinja variables; plain ones are filled in.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bundler.errors import Problem
from bundler.model.openstack_fields import Fields, open_fields
from bundler.model.requirement import CREDENTIALS_HINT, has_credentials, redacted

#: OpenStack-Ansible's own defaults of the variables that addresses begin with.
DEFAULTS: Mapping[str, str] = {
    "openstack_opendev_base_url": "https://opendev.org",
    "openstack_github_base_url": "https://github.com",
}
REQUIREMENTS = "requirements"
_REPO, _BRANCH, _TRACK = "_git_repo", "_git_install_branch", "_git_track_branch"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_EXPRESSION = re.compile(r"\{\{(?P<inside>.*?)\}\}")
_SLASHES = re.compile(r"(?<![:/])//+")
_SERIES = re.compile(r"(?:stable|unmaintained)/(?P<series>\w[\w.]*)")
_DEPTH = 8


@dataclass(frozen=True, kw_only=True)
class GitPin:
    """One source: ``key`` is its prefix, ``group`` the directory of its file (``nova_all``), ``where`` its line."""

    key: str
    group: str
    url: str
    revision: str
    track: str
    where: str

    @property
    def short(self) -> str:
        """Return the last part of the address: ``nova``."""
        return posixpath.basename(self.url).removesuffix(".git")

    @property
    def series(self) -> str:
        """Return the series whose stable branch is tracked, or nothing."""
        match = _SERIES.fullmatch(self.track)
        return match["series"] if match else ""

    @property
    def exact(self) -> bool:
        """Return whether the revision is a commit."""
        return _COMMIT.fullmatch(self.revision) is not None


@dataclass(kw_only=True)
class SourceGit:
    """The pins of several files, read together; ``problems`` is everything that is wrong with any of them."""

    variables: Mapping[str, str]
    pins: list[GitPin] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def read(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Read ``files``: names with contents."""
        documents: list[Fields] = []
        for file, data in files:
            fields, problems = open_fields(data, file)
            self.problems.extend(problems)
            if fields is not None:
                documents.append(fields)
        known = {**DEFAULTS, **{name: text for one in documents for name, text in _scalars(one)}, **self.variables}
        for fields in documents:
            for key in _sources(fields):
                self._pin(fields, key, known)
            self.problems.extend(fields.problems)

    def _pin(self, fields: Fields, key: str, known: Mapping[str, str]) -> None:
        repo, branch = (f"{key}{_REPO}",), (f"{key}{_BRANCH}",)
        url = _filled(fields, repo, known, "the address of the repository")
        revision = _filled(fields, branch, known, "the commit that is installed")
        if has_credentials(url):
            fields.refuse(repo, f"{redacted(url)!r} has credentials in it", CREDENTIALS_HINT)
        track = fields.text((f"{key}{_TRACK}",))
        if not url or not revision:
            return
        group = posixpath.basename(posixpath.dirname(fields.tree.file))
        where = fields.where(repo)
        other = next((pin for pin in self.pins if pin.key == key), None)
        if other is not None and (other.url, other.revision) != (url, revision):
            fields.refuse(repo, f"is given at {other.where} too, with another address or commit", "keep one")
        elif other is None:
            track = "" if track == "None" else track
            self.pins.append(GitPin(key=key, group=group, url=url, revision=revision, track=track, where=where))


def _sources(fields: Fields) -> Iterator[str]:
    """Yield the prefixes of the sources, each once, in their order."""
    found: dict[str, None] = {}
    for name in fields.keys(()):
        for suffix in (_REPO, _BRANCH):
            if name.endswith(suffix) and name != suffix:
                found[name.removesuffix(suffix)] = None
    yield from found


def _scalars(fields: Fields) -> Iterator[tuple[str, str]]:
    for name in fields.keys(()):
        here = fields.at((name,))
        if here is not None and isinstance(here.value, str):
            yield name, here.value


def _filled(fields: Fields, path: tuple[str], known: Mapping[str, str], hint: str) -> str:
    """Return the text at ``path`` with its variables filled in, or nothing and a problem."""
    text = fields.text(path, hint)
    for _ in range(_DEPTH):
        match = _EXPRESSION.search(text)
        if match is None:
            return _SLASHES.sub("/", text.strip())
        name = match["inside"].strip()
        if name not in known:
            what = f"the variable {name} is not known" if name.isidentifier() else f"cannot fill in {match[0]}"
            fields.refuse(path, what, "give --variable NAME=VALUE" if name.isidentifier() else "write the value")
            return ""
        text = text[: match.start()] + known[name] + text[match.end() :]
    fields.refuse(path, "its variables refer to each other in a circle", "write the value")
    return ""
