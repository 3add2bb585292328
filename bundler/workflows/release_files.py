"""From finished venvs to what a repo host will hold: the entries of ``bundle.json`` and the evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bundler.model.contents import FileEntry, PackageEntry, TargetEntry, VenvEntry
from bundler.model.lock import Lock
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
            packages=tuple(
                PackageEntry(
                    name=wheel.name,
                    version=wheel.version,
                    wheel=wheel.filename,
                    wheel_sha256=wheel.digest,
                    layers=self.layers[wheel.name],
                    kind=package.kind,
                    requested=package.requested,
                )
                for wheel, package in zip(self.wheels.wheels, self.wheels.packages, strict=True)
            ),
            console_scripts=self.console_scripts,
            runtime_packages=plan.host_packages,
            proof=replace(proof, unproved_allowed=unproved_allowed and proof.level == "none"),
        )


def constraints_text(wheels: WheelSet) -> bytes:
    """Return the install-time constraints of a venv: one ``name==version`` per line, no hashes."""
    return "".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels.wheels).encode("utf-8")


def file_entries(venvs: Sequence[FinishedVenv], root: str, store: Store) -> tuple[FileEntry, ...]:
    """Return every file of a repo host; small texts are put into the store here.

    A file that several venvs or targets have under one path is named once, with all its targets.
    """
    merged: dict[str, FileEntry] = {}
    targets: dict[str, set[str]] = defaultdict(set)
    for venv in venvs:
        for entry in _entries_of(venv, f"{root}/{venv.folder}", store):
            merged[entry.path] = entry
            targets[entry.path].update(entry.targets)
    return tuple(replace(entry, targets=tuple(sorted(targets[path]))) for path, entry in sorted(merged.items()))


def _entries_of(venv: FinishedVenv, base: str, store: Store) -> Iterable[FileEntry]:
    plan, archive = venv.plan, venv.archive
    target = (plan.target.name,)
    for wheel in venv.wheels.wheels:
        blob = Blob(digest=wheel.digest, size=wheel.size)
        yield _single(f"{base}/wheels/{wheel.filename}", blob, target)
    yield FileEntry(
        path=f"{base}/venvs/{plan.basename}.tar.zst",
        size=archive.size,
        sha256=archive.sha256,
        mode=0o644,
        targets=target,
        blobs=tuple(blob.digest for blob in archive.blobs),
    )
    digest_line = f"{archive.sha256}  {plan.basename}.tar.zst\n".encode()
    yield _single(f"{base}/venvs/{plan.basename}.tar.zst.sha256", store.put(digest_line), target)
    lock = built_pylock_text(venv.wheels.packages, venv.wheels.wheels, plan.target).encode("utf-8")
    yield _single(f"{base}/locks/pylock.{plan.name}.toml", store.put(lock), target)
    constraints = store.put(constraints_text(venv.wheels))
    yield _single(f"{base}/requirements/{plan.basename}-constraints.txt", constraints, target)


def source_entries(
    sets: Sequence[WheelSet], plans: Mapping[tuple[str, str], VenvPlan], lock: Lock, root: str, store: Store
) -> tuple[FileEntry, ...]:
    """Return the files of a bundle that carries the wheels of git and path sources only, with all constraints."""
    merged: dict[str, FileEntry] = {}
    for one in sets:
        base, target = f"{root}/{one.target}", (one.target,)
        pins = "".join(f"{package.name}=={package.version}\n" for package in lock.venv(one.venv, one.target).packages)
        name = plans[one.venv, one.target].basename
        entries = [_single(f"{base}/requirements/{name}-constraints.txt", store.put(pins.encode()), target)]
        entries += [
            _single(f"{base}/wheels/{wheel.filename}", Blob(digest=wheel.digest, size=wheel.size), target)
            for wheel in one.wheels
        ]
        merged |= {entry.path: entry for entry in entries}
    return tuple(entry for _, entry in sorted(merged.items()))


def _single(path: str, blob: Blob, targets: tuple[str, ...]) -> FileEntry:
    return FileEntry(path=path, size=blob.size, sha256=blob.digest, mode=0o644, targets=targets, blobs=(blob.digest,))


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
