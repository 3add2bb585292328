"""What a venv asks for: PEP 508 requirements and the git forms that OpenStack-Ansible writes.

Accepted are ``name[extra]>=1; marker``, ``name @ https://…``, ``name @ git+https://…@revision#subdirectory=x``,
``git+https://…@revision#egg=name&subdirectory=x`` and ``name @ ./directory`` (relative to the manifest). URLs with
credentials inside are refused, and no message ever repeats them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bundler.errors import RequirementError

GIT_SCHEMES = ("https", "http", "ssh", "git", "file")
CREDENTIALS_HINT = "keep credentials in netrc, a keyring, or UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD"
_NAMELESS = "write name @ {url} or {url}#egg=name"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_EGG = re.compile(rf"({_NAME.pattern})(\[[A-Za-z0-9._, -]*\])?")
_OTHER_VCS = ("hg+", "svn+", "bzr+")
_USERINFO = re.compile(r"(?<!/)//[^/?#\s]*@")
_MARKER = re.compile(r"\s;\s*|;\s+")
_LONGEST = 4096


@dataclass(frozen=True, kw_only=True)
class GitReference:
    """A revision of a git repository; ``revision`` and ``subdirectory`` may be empty."""

    url: str
    revision: str = ""
    subdirectory: str = ""

    def __str__(self) -> str:
        """Return the reference as ``git+URL@revision#subdirectory=…``."""
        revision = f"@{self.revision}" if self.revision else ""
        fragment = f"#subdirectory={self.subdirectory}" if self.subdirectory else ""
        return f"git+{self.url}{revision}{fragment}"


@dataclass(frozen=True, kw_only=True)
class Requested:
    """One requirement. ``name`` is normalised (PEP 503); at most one of ``url``, ``git`` and ``path`` is given.

    ``path`` is a local source tree or file, relative to the manifest unless absolute; ``text`` is what was written.
    """

    name: str
    text: str
    extras: tuple[str, ...] = ()
    specifier: str = ""
    marker: Marker | None = None
    url: str | None = None
    git: GitReference | None = None
    path: str | None = None

    def applies(self, environment: Mapping[str, str]) -> bool:
        """Return whether the marker holds in ``environment`` (PEP 508), with no extra asked for."""
        return self.marker is None or self.marker.evaluate({"extra": "", **environment})

    def rooted(self, root: PurePosixPath) -> Requested:
        """Return the requirement with a relative ``path`` taken from the directory ``root``."""
        return self if self.path is None else replace(self, path=str(root / self.path))

    def to_pep508(self) -> str:
        """Return the canonical line that pip and uv understand."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        reference = self._reference()
        head = f"{self.name}{extras}"
        body = f"{head} @ {reference}" if reference else f"{head}{self.specifier}"
        if self.marker is None:
            return body
        return f"{body} ; {self.marker}" if reference else f"{body}; {self.marker}"

    def _reference(self) -> str:
        if self.git is not None:
            return str(self.git)
        if self.path is not None:
            return f"file://{self.path}" if self.path.startswith("/") else f"./{self.path.removeprefix('./')}"
        return self.url or ""


def redacted(text: str) -> str:
    """Return ``text`` with the user part of every URL replaced by ``***``."""
    return _USERINFO.sub("//***@", text)


def has_credentials(url: str) -> bool:
    """Return whether ``url`` holds a password or token; a bare user of an SSH address is none."""
    match = _USERINFO.search(url)
    if match is None:
        return False
    user = match.group()[2:-1]
    return ":" in user or not url.split("//", 1)[0].endswith("ssh:")


def normalise(name: str) -> str:
    """Return the normalised form of a project's name (PEP 503).

    Raises:
        RequirementError: It is no valid name.
    """
    if _NAME.fullmatch(name) is None:
        raise RequirementError(f"{name[:80]!r} is no package name", hint="letters, digits, '.', '_' and '-' only")
    return str(canonicalize_name(name))


def parse_requirement(text: str) -> Requested:
    """Return the requirement that ``text`` states.

    Raises:
        RequirementError: It is neither PEP 508 nor a supported git form; the hint says what to write.
    """
    line = text.strip()
    _refuse_options(line)
    if has_credentials(line):
        raise RequirementError(f"{redacted(line)!r} has credentials in its URL", hint=CREDENTIALS_HINT)
    try:
        parsed = Requirement(_named(line) if line.startswith("git+") else line)
    except (InvalidRequirement, RecursionError, ValueError) as error:
        raise _invalid(line, str(error)) from error
    requested = Requested(
        name=normalise(parsed.name),
        text=line,
        extras=tuple(sorted(str(canonicalize_name(extra)) for extra in parsed.extras)),
        specifier=str(parsed.specifier),
        marker=parsed.marker,
    )
    return requested if parsed.url is None else _with_reference(requested, parsed.url)


def _refuse_options(line: str) -> None:
    if not line:
        raise RequirementError("an empty requirement", hint="remove it")
    if len(line) > _LONGEST or "\n" in line or "\r" in line:
        raise RequirementError(f"{redacted(line[:60])!r}… is no single requirement", hint="one requirement per entry")
    if line.startswith("-"):
        raise RequirementError(
            f"{redacted(line)!r} is an option of pip, not a requirement",
            hint="write name @ git+https://…@revision, name @ ./directory, or a name with a version",
        )
    if line.startswith(_OTHER_VCS):
        raise RequirementError(f"{redacted(line)!r}: only git is supported", hint="mirror the source into git")


def _invalid(line: str, reason: str) -> RequirementError:
    shown = redacted(line)
    first = (redacted(reason).splitlines() or ["not understood"])[0].rstrip(":")
    hint = "write name, name==1.2, or name @ URL"
    if line.startswith(("./", "../", "/", "file:")):
        hint = f"write name @ {shown}"
    elif "://" in line and " @ " not in line:
        hint = _NAMELESS.format(url=shown) if line.startswith("git+") else f"write name @ {shown}"
    elif re.search(r"[^<>=!~]=[^=]", re.split("[;@]", line, maxsplit=1)[0]):
        hint = "a single = is no version comparison: write =="
    return RequirementError(f"{shown!r} is no PEP 508 requirement: {first}", hint=hint)


def _named(line: str) -> str:
    """Turn ``git+URL@revision#egg=name[extra]&subdirectory=x ; marker`` into its PEP 508 form."""
    url, *rest = _MARKER.split(line, maxsplit=1)
    egg = dict(_fragment(urlsplit(url.strip()), url)).get("egg", "")
    match = _EGG.fullmatch(egg)
    if match is None:
        raise RequirementError(
            f"{redacted(url)!r} does not say which package it is",
            hint=_NAMELESS.format(url=redacted(url.split("#")[0])),
        )
    marker = f" ; {rest[0]}" if rest else ""
    return f"{match[1]}{match[2] or ''} @ {url.strip()}{marker}"


def _fragment(parts: SplitResult, shown: str) -> Iterator[tuple[str, str]]:
    for item in filter(None, parts.fragment.split("&")):
        key, _, value = item.partition("=")
        if key not in ("egg", "subdirectory"):
            raise RequirementError(f"{redacted(shown)!r}: unknown part #{key}=", hint="known: egg, subdirectory")
        yield key, unquote(value)


def _with_reference(requested: Requested, url: str) -> Requested:
    if url.startswith("git+"):
        return replace(requested, git=_git(url, requested.name))
    if url.startswith(("./", "../", "/")) or url in (".", ".."):
        return replace(requested, path=url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _invalid(url, str(error)) from error
    if parts.scheme == "file":
        return replace(requested, path=_local(parts, url))
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise RequirementError(
            f"{redacted(url)!r} is no usable address", hint="write https://…, git+https://…@revision, or ./directory"
        )
    return replace(requested, url=url)


def _local(parts: SplitResult, url: str) -> str:
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise RequirementError(f"{redacted(url)!r} names no local path", hint="write file:///absolute or ./relative")
    return unquote(parts.path)


def _git(url: str, name: str) -> GitReference:
    try:
        parts = urlsplit(url.removeprefix("git+"))
        known = parts.scheme in GIT_SCHEMES and bool(parts.netloc or parts.scheme == "file")
    except ValueError as error:
        raise _invalid(url, str(error)) from error
    if not known:
        hint = "write git+https://host/path@revision or git+ssh://git@host/path@revision"
        raise RequirementError(f"{redacted(url)!r} is no git address", hint=hint)
    fragment = dict(_fragment(parts, url))
    egg = _EGG.fullmatch(fragment.get("egg", name))
    if egg is None or canonicalize_name(egg[1]) != name:
        raise RequirementError(f"{redacted(url)!r}: #egg= names another package than {name}", hint="drop #egg=")
    path, mark, revision = parts.path.rpartition("@")
    if mark and not revision:
        raise RequirementError(f"{redacted(url)!r} ends in an empty revision", hint="write a commit, tag or branch")
    return GitReference(
        url=parts._replace(path=path if mark else parts.path, fragment="").geturl(),
        revision=revision if mark else "",
        subdirectory=_inside(fragment.get("subdirectory", ""), url),
    )


def _inside(subdirectory: str, url: str) -> str:
    path = PurePosixPath(subdirectory)
    if path.is_absolute() or ".." in path.parts:
        raise RequirementError(f"{redacted(url)!r}: the subdirectory leaves the repository", hint="a relative path")
    return "" if subdirectory in ("", ".") else str(path)
