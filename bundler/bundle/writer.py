"""Write a bundle: volumes, tables, documents and the list of them all, into a directory that appears at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from bundler.bundle.documents import evidence_archive, readme, verify_script
from bundler.bundle.layout import (
    BUNDLE_JSON,
    EVIDENCE,
    INSTALLER,
    README,
    RELEASE_TXT,
    SIGNATURE,
    SUMS,
    VERIFY_SH,
    plan_groups,
)
from bundler.bundle.volumes import BlobSource, write_volumes
from bundler.clock import stopwatch
from bundler.errors import ContentsRefused, Problem
from bundler.events import Emit, StageAdvanced, StageFinished, StageStarted
from bundler.files import chunks, fsync_directory, replacing, replacing_directory, sha256_of, write
from bundler.model.contents import (
    MAX_SIGNATURE,
    Contents,
    FileEntry,
    LinkEntry,
    RoleEntry,
    SeedEntry,
    TargetEntry,
    VenvEntry,
    VolumeEntry,
)
from bundler.model.contents_check import check_contents
from bundler.model.contents_json import format_contents, parse_contents
from bundler.model.sums import format_sums
from bundler.model.tables import make_tables, release_facts

_STAGE = "pack"


@dataclass(frozen=True, kw_only=True)
class BundlePlan:
    """Everything that goes into a bundle but the volumes themselves.

    ``blob_sizes`` has every blob of every file; ``compressed`` names those that zstd would not make smaller;
    ``installer`` is the file that becomes ``bundle-install``; ``evidence`` is (path, bytes); ``volume_size`` limits
    every volume, in bytes.
    """

    name: str
    version: str
    sequence: int
    floor: int
    created: int
    tool: str
    targets: tuple[TargetEntry, ...]
    files: tuple[FileEntry, ...]
    links: tuple[LinkEntry, ...] = ()
    venvs: tuple[VenvEntry, ...] = ()
    seeds: tuple[SeedEntry, ...] = ()
    openstack_ansible: tuple[RoleEntry, ...] = ()
    base: str = ""
    blob_sizes: Mapping[str, int]
    compressed: frozenset[str] = frozenset()
    installer: Path
    evidence: Sequence[tuple[str, bytes]] = field(default=())
    volume_size: int | None = None


def write_bundle(
    plan: BundlePlan,
    open_blob: Callable[[str], IO[bytes]],
    into: Path,
    emit: Emit,
    finish: Callable[[Path], None] | None = None,
) -> Contents:
    """Write the bundle of ``plan`` so that it takes the place of ``into``, and return what it holds.

    ``finish`` is called with the complete directory before it gets its name: the place to sign it. Signatures that
    ``into`` has already are kept where the new list is the same.

    Raises:
        ContentsRefused: A file needs a blob that is not there or of another size; nothing was written then.
        SpaceError: A blob does not fit into a volume.
        IntegrityError: A blob is damaged.
    """
    started = stopwatch()
    _check_closed(plan)
    total = sum(plan.blob_sizes[digest] for digest in {digest for file in plan.files for digest in file.blobs})
    emit(StageStarted(stage=_STAGE, total=total, unit="bytes"))
    with replacing_directory(into) as directory:
        directory.chmod(0o755)
        contents = _write(plan, open_blob, directory, emit)
        _keep_signatures(into, directory)
        if finish is not None:
            finish(directory)
        size = sum(entry.stat().st_size for entry in directory.iterdir())
        fsync_directory(directory)
    emit(StageFinished(stage=_STAGE, seconds=stopwatch() - started, items=len(plan.files), size=size))
    return contents


def _check_closed(plan: BundlePlan) -> None:
    problems = [
        Problem(where=file.path, what=f"needs blob {digest}, which is not there")
        for file in plan.files
        for digest in file.blobs
        if digest not in plan.blob_sizes
    ]
    problems += [
        Problem(where=file.path, what=f"has {file.size} bytes, its blobs {size}")
        for file in plan.files
        if (size := sum(plan.blob_sizes.get(digest, 0) for digest in file.blobs)) != file.size
    ]
    if problems:
        raise ContentsRefused(f"cannot pack: {problems[0]}", hint="run the build again", problems=problems)


def _write(plan: BundlePlan, open_blob: Callable[[str], IO[bytes]], directory: Path, emit: Emit) -> Contents:
    source = BlobSource(open=open_blob, sizes=plan.blob_sizes, compressed=plan.compressed)

    def progress(size: int) -> None:
        emit(StageAdvanced(stage=_STAGE, amount=size))

    groups = plan_groups(plan.files, plan.links)
    volumes = write_volumes(groups, source, directory, plan.volume_size, progress)
    sums = {volume.entry.name: volume.sha256 for volume in volumes}
    contents = contents_of(plan, tuple(volume.entry for volume in volumes))
    # What will be written is read back first.
    check_contents(parse_contents(format_contents(contents)))
    with replacing(directory / INSTALLER, mode=0o755) as target, plan.installer.open("rb") as installer:
        for piece in chunks(installer):
            target.write(piece)
    write(directory / VERIFY_SH, verify_script(), mode=0o755)
    for name, data in _documents(plan, contents).items():
        write(directory / name, data)
    # What is listed is what lies there: the small files are read back.
    sums |= {entry.name: sha256_of(entry) for entry in directory.iterdir() if entry.name not in sums}
    write(directory / SUMS, format_sums(sums))
    return contents


def _documents(plan: BundlePlan, contents: Contents) -> dict[str, bytes]:
    found = {
        BUNDLE_JSON: format_contents(contents),
        README: readme(contents),
        RELEASE_TXT: release_facts(contents),
        EVIDENCE: evidence_archive(plan.evidence),
    }
    for target in contents.targets:
        found |= make_tables(contents, target.name)
    return found


def contents_of(plan: BundlePlan, volumes: tuple[VolumeEntry, ...]) -> Contents:
    """Return the contents in their one order."""
    return Contents(
        name=plan.name,
        version=plan.version,
        sequence=plan.sequence,
        floor=plan.floor,
        created=plan.created,
        tool=plan.tool,
        targets=tuple(sorted(plan.targets, key=lambda target: target.name)),
        files=tuple(
            replace(file, targets=tuple(sorted(file.targets)))
            for file in sorted(plan.files, key=lambda file: file.path)
        ),
        links=tuple(
            replace(link, targets=tuple(sorted(link.targets)))
            for link in sorted(plan.links, key=lambda link: link.path)
        ),
        volumes=volumes,
        venvs=tuple(sorted(plan.venvs, key=lambda venv: (venv.name, venv.target))),
        seeds=tuple(sorted(plan.seeds, key=lambda seed: seed.target)),
        openstack_ansible=plan.openstack_ansible,
        base=plan.base,
    )


def _keep_signatures(old: Path, new: Path) -> None:
    """Copy signatures over from the bundle that is replaced if they cover the same list."""
    same = (old / SUMS).is_file() and (old / SUMS).read_bytes() == (new / SUMS).read_bytes()
    if not same:
        return
    for entry in sorted(old.iterdir()):
        if SIGNATURE.fullmatch(entry.name) and entry.is_file() and not entry.is_symlink():
            with entry.open("rb") as file:
                write(new / entry.name, file.read(MAX_SIGNATURE))
