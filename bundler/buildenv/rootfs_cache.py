"""Root file systems below the store, made once for each recipe.

<store>/rootfs/<key>/          the tree, owned by whoever builds: bubblewrap shows it read-only
<store>/rootfs/<key>.tar       a base, from which systems with more packages are made
<store>/refs/rootfs/…          when it was made, and a digest of the versions in it
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bundler import clock
from bundler.buildenv.dpkg import installed_versions
from bundler.buildenv.mmdebstrap import bootstrap
from bundler.buildenv.recipe import Recipe
from bundler.events import Emit, ItemFinished, ItemStarted, ignore
from bundler.files import replacing_directory, sweep
from bundler.process import Command, run
from bundler.store.cas import Store, key_of

STAGE = "systems"
#: Rises when the same recipe would give another tree.
FORMAT = 1
_UNPACK = ("tar", "-x", "--no-same-owner", "--no-same-permissions", "--exclude=./dev/*", "--exclude=dev/*")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, kw_only=True)
class Rootfs:
    """A root file system: its tree, a digest of the package versions in it, when it was made (seconds)."""

    path: Path
    identity: str
    made: int


@dataclass(kw_only=True)
class RootfsCache:
    """Makes what is asked for; with ``refresh`` anew, once in a run, so that updates of packages come in."""

    store: Store
    emit: Emit = ignore
    refresh: bool = False
    _fresh: set[str] = field(default_factory=set)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def root(self) -> Path:
        """Return the directory that holds all of them."""
        return self.store.root / "rootfs"

    def base(self, recipe: Recipe, what: str) -> Rootfs:
        """Return the system of a recipe, made from its mirrors; ``what`` is how messages call it.

        Raises:
            BuildEnvironmentError: It cannot be made.
        """
        return self._get(recipe, what, None)

    def derived(self, base: Recipe, packages: tuple[str, ...], what: str) -> Rootfs:
        """Return the system of ``base`` with further packages, made on top of it.

        Raises:
            BuildEnvironmentError: It cannot be made.
        """
        wanted = base.with_packages(packages)
        if wanted == base:
            return self.base(base, what)
        return self._get(wanted, what, base)

    def exported(self, identity: str, export: Callable[[Path], None], what: str) -> Rootfs:
        """Return the system of an image that ``export`` writes as a tar; ``identity`` is the image's.

        Raises:
            BuildEnvironmentError: It cannot be exported.
        """
        key = key_of("image", FORMAT, identity)

        def fill(tree: Path, work: Path) -> None:
            export(work / "system.tar")
            _unpack(work / "system.tar", tree)

        with self._alone(key):
            return self._known(key) or self._make(key, what, fill)

    def _get(self, recipe: Recipe, what: str, base: Recipe | None, *, tar: bool = False) -> Rootfs:
        key = recipe_key(recipe)
        with self._alone(key):
            known = self._known(key)
            stands = not self.refresh or key in self._fresh
            if known is not None and stands and (not tar or self._tar(recipe).is_file()):
                return known
            if base is not None:
                self._get(base, what, None, tar=True)

            def fill(tree: Path, work: Path) -> None:
                if base is not None and os.geteuid() == 0:
                    bootstrap(recipe, tree, base=self._tar(base), what=what)
                    return
                tar = work / "system.tar"
                bootstrap(recipe, tar, base=None if base is None else self._tar(base), what=what)
                _unpack(tar, tree)
                if base is None:
                    tar.replace(self._tar(recipe))

            return self._make(key, what, fill)

    def _known(self, key: str) -> Rootfs | None:
        known = self.store.recall("rootfs", key)
        path = self.root / key
        if not isinstance(known, dict) or not path.is_dir():
            return None
        return Rootfs(path=path, identity=str(known["identity"]), made=int(known["made"]))

    def _make(self, key: str, what: str, fill: Callable[[Path, Path], None]) -> Rootfs:
        """Keep what ``fill`` puts into an empty directory; it has another one to work in."""
        self.emit(ItemStarted(stage=STAGE, item=what))
        sweep(self.root)
        with self.store.workdir("rootfs") as work, replacing_directory(self.root / key) as tree:
            fill(tree, work)
        made = Rootfs(path=self.root / key, identity=key_of(installed_versions(self.root / key)), made=clock.now())
        self.store.remember("rootfs", key, {"identity": made.identity, "made": made.made, "what": what})
        self._fresh.add(key)
        self.emit(ItemFinished(stage=STAGE, item=what))
        return made

    def _tar(self, recipe: Recipe) -> Path:
        return self.root / f"{recipe_key(recipe)}.tar"

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Let one thread of one process at a time look for and make the system called ``key``."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self._guard:
            own = self._locks.setdefault(key, threading.Lock())
        with own, (self.root / f"{key}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Pruning goes by it.
            os.utime(file.fileno())
            yield


def _unpack(tar: Path, tree: Path) -> None:
    run(Command(argv=[*_UNPACK, "-C", str(tree), "-f", str(tar)], env=_ENVIRONMENT))


def recipe_key(recipe: Recipe) -> str:
    """Return what a system is kept under: options say how to reach mirrors, they change nothing in it."""
    return key_of("rootfs", FORMAT, recipe.suite, recipe.architecture, recipe.sources, recipe.packages)
