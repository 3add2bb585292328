"""The working tree of one commit: cloned from the mirror, the same bytes, modes and times everywhere."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from bundler.errors import CommandFailed, GitError, Problem
from bundler.model.lock import GitSource
from bundler.sources.credentials import redact_url
from bundler.sources.git_command import Git, is_local

#: pbr and setuptools-scm write abbreviated SHAs; their length must not depend on how much the mirror holds.
_ABBREVIATION = "10"
_GITLINK = "160000"


@dataclass(frozen=True, kw_only=True)
class Submodule:
    """A repository inside another: where, and what."""

    path: str
    source: GitSource


def submodules(git: Git, mirror: Path, source: GitSource) -> tuple[Submodule, ...]:
    """Return the submodules of a commit.

    Raises:
        GitError: There are some and ``source`` does not ask for them, or .gitmodules does not say where from.
    """
    listing = git.local("ls-tree", "-r", "-z", "--full-tree", source.commit, cwd=mirror).stdout
    links = {}
    for row in listing.decode("utf-8", "surrogateescape").split("\0"):
        facts, _, path = row.partition("\t")
        if facts.startswith(_GITLINK):
            links[path] = facts.split(" ")[2]
    if not links:
        return ()
    shown = f"{redact_url(source.url)}@{source.commit}"
    if not source.submodules:
        raise GitError(
            f"{shown} has submodules: {', '.join(sorted(links))}",
            hint="they are not fetched unless asked for: set submodules for this source, or use a release of it",
        )
    urls = _urls(git, mirror, source.commit)
    missing = [Problem(where=path, what="is in no entry of .gitmodules") for path in links if path not in urls]
    if missing:
        raise GitError(f"{shown}: submodules of unknown origin", problems=missing)
    return tuple(
        Submodule(
            path=path,
            source=replace(source, url=submodule_url(source.url, urls[path]), commit=commit, subdirectory=""),
        )
        for path, commit in sorted(links.items())
    )


def place_tree(git: Git, mirror: Path, source: GitSource, into: Path) -> None:
    """Clone ``mirror`` into the new directory ``into`` at the commit; the clone stands by itself."""
    try:
        git.local(
            "clone",
            "--local",
            "--no-checkout",
            "--quiet",
            f"--config=core.abbrev={_ABBREVIATION}",
            "--config=core.autocrlf=false",
            "--config=gc.auto=0",
            "--",
            str(mirror),
            str(into),
        )
        git.local("checkout", "--quiet", "--force", "--detach", source.commit, cwd=into)
    except CommandFailed as error:
        raise GitError(
            f"{redact_url(source.url)}@{source.commit} cannot be checked out: {error.output.strip()[-300:]}",
            hint=f"if the mirror is damaged, remove {mirror}",
        ) from error


def settle(tree: Path, seconds: int) -> None:
    """Set plain modes and the time ``seconds`` on everything below ``tree`` but .git."""
    folders = []
    for folder, names, files in os.walk(tree):
        folders.append(Path(folder))
        if ".git" in names:
            names.remove(".git")
        for name in (*files, *names):
            path = Path(folder, name)
            if path.is_symlink():
                os.utime(path, (seconds, seconds), follow_symlinks=False)
            elif name in files:
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
                os.utime(path, (seconds, seconds))
    for path in reversed(folders):
        path.chmod(0o755)
        os.utime(path, (seconds, seconds))


def _urls(git: Git, mirror: Path, commit: str) -> dict[str, str]:
    """Return the URL of each path in .gitmodules."""
    done = git.local("config", f"--blob={commit}:.gitmodules", "--null", "--list", cwd=mirror, check=False)
    sections: dict[str, dict[str, str]] = {}
    for row in done.stdout.decode("utf-8", "surrogateescape").split("\0"):
        key, _, value = row.partition("\n")
        section, _, option = key.rpartition(".")
        sections.setdefault(section, {})[option] = value
    return {entry["path"]: entry["url"] for entry in sections.values() if "path" in entry and "url" in entry}


def submodule_url(base: str, url: str) -> str:
    """Return a submodule's URL; one that starts with ./ or ../ is relative to the repository (gitmodules(5)).

    Raises:
        GitError: It is on this machine although the repository is not: that would read what is private here.
    """
    if not url.startswith(("./", "../")):
        if is_local(url) and not is_local(base):
            raise GitError(f"{redact_url(base)} has a submodule on this machine: {url}", hint="it is not followed")
        return url
    base = base.rstrip("/")
    for part in url.split("/"):
        if part == "..":
            parent, slash, _ = base.rpartition("/")
            base = parent if slash else base.partition(":")[0] + ":"
        elif part not in ("", "."):
            base = f"{base}{part}" if base.endswith(":") else f"{base}/{part}"
    return base
