"""Puts the source of a locked package into a build's private tree: sdist, git commit or local directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import CommandFailed, WheelBuildFailed
from bundler.model.lock import Artifact, GitSource, LockedPackage
from bundler.process import Command, run
from bundler.sources.directory import copy_directory
from bundler.sources.git import GitSources
from bundler.store.cas import Store
from bundler.wheels.sdist import NEWEST_EPOCH, OLDEST_EPOCH, is_inside, unpack_sdist


@dataclass(frozen=True, kw_only=True)
class SourceTree:
    """An unpacked source: ``top`` holds everything, ``project`` is where its pyproject.toml or setup.py lies."""

    top: Path
    project: Path
    epoch: int


@dataclass(frozen=True, kw_only=True)
class SourcesSpec:
    """Where sources come from, as a plain value: the directories of the store and of the manifest.

    It holds no credentials: sdists and the mirrors of repositories must be in the store before.
    """

    store: Path
    root: Path

    def open(self) -> Sources:
        """Return the sources, in any process that sees the same directories."""
        store = Store(self.store)
        return Sources(store=store, checkout=GitSources(store).checkout, root=self.root)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where sources come from: ``checkout`` puts a commit, with its history and tags, into an absent directory.

    Paths of directory sources are relative to ``root``, the manifest's directory. An sdist is in the store already.
    """

    store: Store
    checkout: Callable[[GitSource, Path], object]
    root: Path

    @property
    def spec(self) -> SourcesSpec:
        """Return what opens the same sources in another process."""
        return SourcesSpec(store=self.store.root.absolute(), root=self.root.absolute())

    def place(self, package: LockedPackage, top: Path) -> SourceTree:
        """Make ``top``, which must not exist, the source tree of ``package``.

        Raises:
            WheelBuildFailed: The source is damaged or is none.
            GitError: The commit cannot be had.
            StoreError: The sdist is not in the store, or damaged there.
            SourceError: The directory is not there or not what was locked.
        """
        origin = package.origin
        if isinstance(origin, Artifact):
            epoch = unpack_sdist(self.store.checked(origin.sha256), origin.name, top)
            return _tree(package, top, "", epoch)
        if isinstance(origin, GitSource):
            self.checkout(origin, top)
            return _tree(package, top, origin.subdirectory, _commit_time(top))
        copy_directory(origin, self.root, top)
        return _tree(package, top, "", OLDEST_EPOCH)


def source_identity(package: LockedPackage) -> tuple[str, ...]:
    """Return what names the source's content: part of the key of everything made from it."""
    origin = package.origin
    if isinstance(origin, GitSource):
        return ("git", origin.url, origin.commit, origin.subdirectory, str(origin.submodules))
    return (package.kind, origin.sha256)


def _tree(package: LockedPackage, top: Path, subdirectory: str, epoch: int) -> SourceTree:
    project = top / subdirectory if subdirectory else top
    if not is_inside(project, top) or not any((project / name).is_file() for name in ("pyproject.toml", "setup.py")):
        where = f"in {subdirectory!r} " if subdirectory else ""
        raise WheelBuildFailed(
            f"{package.name} {package.version}: no pyproject.toml or setup.py {where}of its source",
            hint="give the right subdirectory=, or another source",
        )
    return SourceTree(top=top, project=project, epoch=epoch)


def _commit_time(top: Path) -> int:
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(top), "LC_ALL": "C.UTF-8"}
    try:
        done = run(Command(argv=["git", "show", "-s", "--format=%ct", "HEAD"], env=env, cwd=top))
        return min(max(int(done.text.strip()), OLDEST_EPOCH), NEWEST_EPOCH)
    except (CommandFailed, ValueError) as error:
        raise WheelBuildFailed(
            f"cannot read the commit's time in {top}: {error}", hint="run the build again"
        ) from error
