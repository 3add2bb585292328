"""Whether a parsed ``bundle.json`` holds together: every file is made of blobs that are where it says they are."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping

from bundler.errors import ContentsRefused, FormatError, PolicyRefused, Problem
from bundler.model.contents import BlobEntry, Contents, FileEntry, VenvEntry, VolumeEntry
from bundler.model.paths import check_tree

#: More problems than this help nobody.
MAX_PROBLEMS = 50


def check_contents(contents: Contents) -> None:
    """Refuse contents that contradict themselves.

    Raises:
        ContentsRefused: Listing the problems.
    """
    problems = [
        *_targets(contents),
        *_paths(contents),
        *_volumes(contents),
        *_files(contents),
        *_venvs(contents),
    ]
    if problems:
        raise ContentsRefused(
            f"bundle.json contradicts itself: {problems[0]}",
            hint="the bundle was made wrong: build it again",
            problems=problems[:MAX_PROBLEMS],
        )


def check_proofs(contents: Contents) -> None:
    """Refuse venvs without a passed proof, unless the bundle says that the manifest allows it.

    Raises:
        PolicyRefused: Listing the venvs.
    """
    problems = [
        Problem(where=f"{venv.name} on {venv.target}", what=what)
        for venv in contents.venvs
        if (what := _unproved(venv))
    ]
    if problems:
        raise PolicyRefused(
            f"not proved: {problems[0]}",
            hint="build with a proof, or set proof.allow_unproved in the manifest: the bundle then says so",
            problems=problems[:MAX_PROBLEMS],
        )


def _unproved(venv: VenvEntry) -> str:
    if venv.proof.level == "none":
        return "" if venv.proof.unproved_allowed else "there was no proof"
    return "" if venv.proof.passed else "the proof failed"


def _targets(contents: Contents) -> Iterator[Problem]:
    known = [target.name for target in contents.targets]
    for name, count in Counter(known).items():
        if count > 1:
            yield Problem(where="targets", what=f"{name} occurs {count} times")
    used: list[tuple[str, tuple[str, ...]]] = [
        *((f"file {file.path}", file.targets) for file in contents.files),
        *((f"link {link.path}", link.targets) for link in contents.links),
        *((f"volume {volume.name}", (volume.target,)) for volume in contents.volumes if volume.target),
        *((f"venv {venv.name}", (venv.target,)) for venv in contents.venvs),
        *(("seeds", (seed.target,)) for seed in contents.seeds),
    ]
    for where, targets in used:
        unknown = sorted(set(targets) - set(known))
        if unknown or not targets:
            yield Problem(
                where=where, what=f"is for {', '.join(unknown) or 'no target'}, which the bundle is not for"
            )


def _paths(contents: Contents) -> Iterator[Problem]:
    try:
        check_tree([*(file.path for file in contents.files), *(link.path for link in contents.links)])
    except FormatError as error:
        yield Problem(where="files", what=error.message)


def _volumes(contents: Contents) -> Iterator[Problem]:
    names = [volume.name for volume in contents.volumes]
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(where="volumes", what=f"{name} occurs {count} times")
    digests = Counter(blob.sha256 for volume in contents.volumes for blob in volume.blobs)
    for digest, count in digests.items():
        if count > 1:
            yield Problem(where=f"blob {digest}", what=f"is carried {count} times")
    used = {digest for file in contents.files for digest in file.blobs}
    for digest in sorted(set(digests) - used):
        yield Problem(where=f"blob {digest}", what="belongs to no file")
    for volume in contents.volumes:
        yield from _layout(volume)


def _layout(volume: VolumeEntry) -> Iterator[Problem]:
    owner = volume.target or "common"
    if not re.fullmatch(rf"{re.escape(owner)}-[0-9]{{3,6}}\.tar\.zst", volume.name):
        yield Problem(where=f"volume {volume.name}", what=f"is not named {owner}-NNN.tar.zst after what it is for")
    end = 0
    for blob in volume.blobs:
        if blob.offset < end:
            yield Problem(where=f"blob {blob.sha256}", what=f"overlaps the one before it in {volume.name}")
        end = blob.offset + blob.length
    if end > volume.size:
        yield Problem(where=f"volume {volume.name}", what="has blobs beyond its end")


def _files(contents: Contents) -> Iterator[Problem]:
    places = {blob.sha256: (blob, volume) for volume in contents.volumes for blob in volume.blobs}
    for file in contents.files:
        missing = [digest for digest in file.blobs if digest not in places]
        if not file.blobs:
            yield Problem(where=file.path, what="has no blobs")
        elif missing and not contents.base:
            yield Problem(where=file.path, what=f"needs blob {missing[0]}, which no volume carries")
        elif not missing:
            yield from _file(file, places)


def _file(file: FileEntry, places: Mapping[str, tuple[BlobEntry, VolumeEntry]]) -> Iterator[Problem]:
    size = sum(places[digest][0].size for digest in file.blobs)
    if size != file.size:
        yield Problem(where=file.path, what=f"has {file.size} bytes, its blobs {size}")
    if len(file.blobs) == 1 and file.blobs[0] != file.sha256:
        yield Problem(where=file.path, what="is one blob but has another digest")
    for digest in file.blobs:
        target = places[digest][1].target
        if target and file.targets != (target,):
            yield Problem(where=file.path, what=f"needs blob {digest} from a volume of {target} only")


def _venvs(contents: Contents) -> Iterator[Problem]:
    files = {file.path: file for file in contents.files}
    for venv in contents.venvs:
        archive = files.get(venv.archive)
        if archive is None or venv.target not in archive.targets:
            yield Problem(
                where=f"venv {venv.name}", what=f"its archive {venv.archive} is not among the target's files"
            )
            continue
        strange = {layer for package in venv.packages for layer in package.layers} - set(archive.blobs)
        if strange:
            where = f"venv {venv.name} on {venv.target}"
            yield Problem(where=where, what=f"layer {min(strange)} is not in {posixpath.basename(venv.archive)}")
