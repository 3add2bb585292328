"""The services that locking needs, put together once: indexes, client, git, resolver, metadata."""

from __future__ import annotations

import contextlib
import contextvars
import os.path
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from packaging.version import InvalidVersion, Version

from bundler.buildenv.port import BuildEnvironment
from bundler.buildenv.systems import Systems
from bundler.errors import MetadataError
from bundler.events import Emit
from bundler.model.index import IndexConfig
from bundler.model.lock import Artifact, DirectorySource, GitSource, LockedPackage
from bundler.model.manifest_load import LoadedManifest
from bundler.model.target import Target
from bundler.resolve.git_pins import PinningResolver, Pins
from bundler.resolve.port import MetadataReader, Resolver
from bundler.resolve.walk import CoreMeta, parse_core_metadata
from bundler.sources.constraint_files import MOST_BYTES, LayerReader
from bundler.sources.credentials import Credentials
from bundler.sources.directory import digest_directory
from bundler.sources.fetch import fetch_all
from bundler.sources.git import GitSources
from bundler.sources.http import HttpClient
from bundler.sources.indexes import index_config
from bundler.sources.metadata import metadata_many, wheel_metadata
from bundler.store.cas import Store
from bundler.wheels.source import Sources
from bundler.workflows.locked_metadata import remember_source

_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class LockServices:
    """What locking uses; made by :func:`lock_services`, which closes it too."""

    loaded: LoadedManifest
    store: Store
    emit: Emit
    resolver: Resolver
    indexes: IndexConfig
    client: HttpClient
    git: GitSources
    reader: LayerReader
    systems: Systems

    @property
    def sources(self) -> Sources:
        """Return where source trees come from."""
        return Sources(store=self.store, checkout=self._checkout, root=self.loaded.root)

    def _checkout(self, source: GitSource, into: Path) -> None:
        self.git.checkout(source, into)

    def portable(self, url: str) -> str:
        """Return a ``file:`` address below the manifest or one of its relative wheel folders relative to it."""
        if not url.startswith("file:/"):
            return url
        path, root = Path(unquote(urlsplit(url).path)), self.loaded.root.resolve()
        folders = [Path(folder) for folder in self.loaded.manifest.wheel_folders]
        below = [root, *((root / folder).resolve() for folder in folders if not folder.is_absolute())]
        if not any(path.is_relative_to(place) for place in below):
            return url
        return f"file:{quote(os.path.relpath(path, root))}"

    def fetch(self, artifacts: Sequence[Artifact]) -> object:
        """Bring files into the store, without a stage of their own."""
        return fetch_all(artifacts, self.store, self.client)

    def wheel_metadata(self, artifact: Artifact) -> bytes:
        """Return METADATA of a wheel."""
        return wheel_metadata(artifact, self.store, self.client)

    def read_ahead(self, packages: Iterable[LockedPackage]) -> None:
        """Read METADATA of all wheels among ``packages`` in parallel, so that asking for one is cheap."""
        wheels = (one.origin for one in packages if not one.must_build)
        metadata_many((origin for origin in wheels if isinstance(origin, Artifact)), self.store, self.client)

    def environment(self, target: Target) -> BuildEnvironment:
        """Return where questions about a source are answered: where its wheel for ``target`` will be built."""
        return self.systems.environment(target)


@contextlib.contextmanager
def lock_services(
    loaded: LoadedManifest, resolver: Resolver, store: Store, emit: Emit, systems: Systems
) -> Iterator[LockServices]:
    """Yield the services for one run."""
    indexes = index_config(loaded.manifest, loaded.root, emit)
    credentials = Credentials(indexes, emit=emit)
    with HttpClient(indexes, credentials=credentials) as client:
        git = GitSources(store, emit, credentials=credentials)

        def fetch(url: str) -> bytes:
            return client.get(url, limit=MOST_BYTES)

        yield LockServices(
            loaded=loaded,
            store=store,
            emit=emit,
            resolver=PinningResolver(inner=resolver, pins=Pins(commit_of=git.resolve)),
            indexes=indexes,
            client=client,
            git=git,
            reader=LayerReader(root=loaded.root, fetch=fetch, read_git=git.show_file),
            systems=systems,
        )


@dataclass(kw_only=True)
class MetadataDesk:
    """Core metadata of locked packages, parsed once; ``settle`` makes versions what the metadata says.

    ``source_metadata`` answers for what must be built first.
    """

    services: LockServices
    source_metadata: MetadataReader
    directories: dict[str, str]
    _known: dict[tuple[str, ...], CoreMeta] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, target: Target) -> Callable[[LockedPackage], CoreMeta]:
        """Return how to ask for the metadata of a package on ``target``."""
        return lambda package: self.read(package, target)

    def read(self, package: LockedPackage, target: Target) -> CoreMeta:
        """Return the metadata of ``package`` on ``target``."""
        key = _key(package, target)
        found = self._known.get(key)
        if found is None:
            found = parse_core_metadata(self._bytes(package, target), f"{package.name} {package.version}".strip())
            with self._lock:
                self._known[key] = found
        return found

    def settle(self, packages: Sequence[LockedPackage], target: Target) -> list[LockedPackage]:
        """Return the packages with proper versions, digests of directories and all metadata read.

        Raises:
            MetadataError: A version is none (PEP 440).
        """
        self.services.read_ahead(packages)
        placed = [self.placed(package) for package in packages]
        context = contextvars.copy_context()
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="metadata") as pool:
            versions = list(pool.map(lambda package: context.copy().run(self._version, package, target), placed))
        return [replace(package, version=version) for package, version in zip(placed, versions, strict=True)]

    def placed(self, package: LockedPackage) -> LockedPackage:
        """Return the package with addresses that stay true elsewhere, submodules and the digest of a directory."""
        if isinstance(package.origin, Artifact):
            return replace(package, origin=replace(package.origin, url=self.services.portable(package.origin.url)))
        settings = self.services.loaded.manifest.build.packages.get(package.name)
        if isinstance(package.origin, GitSource) and settings is not None and settings.submodules:
            return replace(package, origin=replace(package.origin, submodules=True))
        if not isinstance(package.origin, DirectorySource) or package.origin.sha256:
            return package
        path = Path(package.origin.path)
        relative = os.path.relpath(path, self.services.loaded.root.resolve())
        digest = self.directories.get(str(path.resolve())) or digest_directory(path)
        return replace(package, origin=DirectorySource(path=relative, sha256=digest))

    def _version(self, package: LockedPackage, target: Target) -> str:
        # Asked here for every source, so that their backends answer in parallel.
        told = self.read(package, target).version if package.must_build else package.version
        text = told if package.kind in ("git", "directory") else package.version
        try:
            return str(Version(text))
        except InvalidVersion as error:
            raise MetadataError(
                f"{package.name}: {text!r} is no version", hint="constrain it to another version"
            ) from error

    def _bytes(self, package: LockedPackage, target: Target) -> bytes:
        if package.must_build or not isinstance(package.origin, Artifact):
            data = self.source_metadata(package, target)
            remember_source(self.services.store, package, target, data)
            return data
        return self.services.wheel_metadata(package.origin)


def _key(package: LockedPackage, target: Target) -> tuple[str, ...]:
    origin = package.origin
    if isinstance(origin, GitSource):
        return (target.name, origin.url, origin.commit, origin.subdirectory)
    if isinstance(origin, DirectorySource):
        return (target.name, origin.path)
    return (target.name if package.must_build else "", origin.sha256)
