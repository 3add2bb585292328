"""From finished venvs to what a repo host will hold: the entries of ``bundle.json`` and the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bundler.model.contents import FileEntry, PackageEntry, SeedEntry, TargetEntry, VenvEntry
from bundler.model.plan import VenvPlan
from bundler.model.pylock import built_pylock_text
from bundler.model.target import Target
from bundler.model.wheel import WheelSet
from bundler.store.cas import Blob, Store
from bundler.venvs.archive import VenvArchive
from bundler.venvs.proof_report import ProofReport


@dataclass(frozen=True, kw_only=True)
class FinishedVenv:
    """A venv with everything that was made for it. ``layers`` are blob digests per package."""

    plan: VenvPlan
    wheels: WheelSet
    archive: VenvArchive
    layers: dict[str, tuple[str, ...]]
    console_scripts: tuple[str, ...]
    report: ProofReport

    @property
    def folder(self) -> str:
        """Return the target's name: the part of a path that its files share."""
        return self.plan.target.name

    def entry(self, root: str, *, unproved_allowed: bool = False) -> VenvEntry:
        """Return what ``bundle.json`` says of it; ``root`` is the release's directory on a repo host."""
        plan, proof = self.plan, self.report.entry
        return VenvEntry(
            name=plan.name,
            target=plan.target.name,
            python=plan.target.python.full_version,
            install_path=plan.path,
            archive=f"{root}/{self.folder}/venvs/{plan.basename}.tar.zst",
            packages=_package_entries(self.wheels, self.layers),
            console_scripts=self.console_scripts,
            runtime_packages=plan.host_packages,
            proof=replace(proof, unproved_allowed=unproved_allowed and proof.level == "none"),
        )


def _package_entries(
    wheels: WheelSet, layers: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[PackageEntry, ...]:
    """Return what ``bundle.json`` says of packages; ``layers`` are blob digests of each, where they were made."""
    return tuple(
        PackageEntry(
            name=wheel.name,
            version=wheel.version,
            wheel=wheel.filename,
            wheel_sha256=wheel.digest,
            layers=() if layers is None else layers[wheel.name],
            kind=package.kind,
            requested=package.requested,
        )
        for wheel, package in zip(wheels.wheels, wheels.packages, strict=True)
    )


def constraints_text(wheels: WheelSet) -> bytes:
    """Return the install-time constraints of a venv: one ``name==version`` per line, no hashes."""
    return "".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels.wheels).encode("utf-8")


def file_entries(venvs: Sequence[FinishedVenv], root: str, store: Store) -> tuple[FileEntry, ...]:
    """Return the archives of venvs and the locks to install them from; small texts are put into the store here."""
    return tuple(entry for venv in venvs for entry in _entries_of(venv, f"{root}/{venv.folder}", store))


def _entries_of(venv: FinishedVenv, base: str, store: Store) -> Iterable[FileEntry]:
    plan, archive = venv.plan, venv.archive
    target = (plan.target.name,)
    yield FileEntry(
        path=f"{base}/venvs/{plan.basename}.tar.zst",
        size=archive.size,
        sha256=archive.sha256,
        mode=0o644,
        targets=target,
        blobs=tuple(blob.digest for blob in archive.blobs),
    )
    digest_line = f"{archive.sha256}  {plan.basename}.tar.zst\n".encode()
    yield single(f"{base}/venvs/{plan.basename}.tar.zst.sha256", store.put(digest_line), target)
    lock = built_pylock_text(venv.wheels.packages, venv.wheels.wheels, plan.target).encode("utf-8")
    yield single(f"{base}/locks/pylock.{plan.name}.toml", store.put(lock), target)


def wheel_entries(sets: Iterable[WheelSet], root: str) -> Iterable[FileEntry]:
    """Yield the wheels of venvs and seed packages; what several venvs have comes as often."""
    for one in sets:
        for wheel in one.wheels:
            blob = Blob(digest=wheel.digest, size=wheel.size)
            yield single(f"{root}/{one.target}/wheels/{wheel.filename}", blob, (one.target,))


def seed_entries(sets: Iterable[WheelSet]) -> tuple[SeedEntry, ...]:
    """Return what ``bundle.json`` says of packages that are carried beside the venvs."""
    return tuple(SeedEntry(target=one.target, packages=_package_entries(one)) for one in sets)


def single(path: str, blob: Blob, targets: tuple[str, ...]) -> FileEntry:
    """Return a file that is one blob."""
    return FileEntry(path=path, size=blob.size, sha256=blob.digest, mode=0o644, targets=targets, blobs=(blob.digest,))


def without_repeats(files: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    """Return the files sorted by path, each path once with the targets of all."""
    found: dict[str, FileEntry] = {}
    for file in files:
        known = found.get(file.path)
        targets = {*file.targets, *(known.targets if known is not None else ())}
        found[file.path] = replace(file, targets=tuple(sorted(targets)))
    return tuple(found[path] for path in sorted(found))


def target_entry(target: Target) -> TargetEntry:
    """Return a target as a site checks it."""
    return TargetEntry(
        name=target.name,
        distro=target.distro,
        version=target.version,
        arch=target.arch,
        python=target.python.full_version,
        glibc=".".join(map(str, target.glibc)),
    )
