"""The flat names of a bundle, and which blob goes into whose volumes."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bundler.errors import UsageError
from bundler.model.contents import FileEntry, LinkEntry
from bundler.model.sums import OWN
from bundler.model.sums import SIGNATURE as OWN_SIGNATURE

SUMS = OWN
SIGNATURE = OWN_SIGNATURE
BUNDLE_JSON = "bundle.json"
RELEASE_TXT = "release.txt"
EVIDENCE = "evidence.tar.zst"
INSTALLER = "bundle-install"
VERIFY_SH = "verify.sh"
README = "README.txt"
#: Namespace of bundle signatures (PROTOCOL.sshsig).
NAMESPACE = "bundle@offline"
BLOBS = "blobs/"
SIGNER = re.compile(r"[a-z0-9-]{1,32}")

_SIZE = re.compile(r"([0-9]+)\s*(|K|M|G|T)(|B|iB)")
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
#: Media whose file or capacity limit has a name.
NAMED_SIZES = {"fat32": (4 << 30) - 1, "dvd": 4_700_000_000}


@dataclass(frozen=True, kw_only=True)
class LinkMember:
    """A symbolic link in a volume, so that a stock unpack shows files at their repo-host paths."""

    path: str
    to: str


@dataclass(frozen=True, kw_only=True)
class VolumeGroup:
    """What the volumes of one target hold, in order; ``target`` is empty for ``common``."""

    target: str
    blobs: tuple[str, ...]
    links: tuple[LinkMember, ...]

    def volume_name(self, number: int) -> str:
        """Return the name of the group's volume with this number, from 1 on."""
        return f"{self.target or 'common'}-{number:03d}.tar.zst"


def signature_name(signer: str) -> str:
    """Return the name of the signature file of ``signer``."""
    return f"{SUMS}.{signer}.sig"


def parse_volume_size(text: str) -> int | None:
    """Return the limit in bytes that ``text`` names: ``fat32``, ``dvd``, ``700M``, bytes; empty is no limit.

    Raises:
        UsageError: Another form.
    """
    if not text:
        return None
    if text.lower() in NAMED_SIZES:
        return NAMED_SIZES[text.lower()]
    match = _SIZE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise UsageError(f"{text!r} is no volume size", hint="write fat32, dvd, bytes, or e.g. 700M, 2GiB")
    base = 1000 if match[3] == "B" else 1024
    size: int = int(match[1]) * base ** _UNITS[match[2]]
    return size


def plan_groups(files: Sequence[FileEntry], links: Iterable[LinkEntry]) -> tuple[VolumeGroup, ...]:
    """Return the volume groups: ``common`` first, then the targets by name; groups with nothing are left out.

    A blob that files of two targets need is common. Blobs are ordered by their first use in sorted paths.
    """
    users: dict[str, set[str]] = defaultdict(set)
    ordered = sorted(files, key=lambda file: file.path)
    for file in ordered:
        for digest in file.blobs:
            users[digest].update(file.targets)
    blobs: dict[str, list[str]] = defaultdict(list)
    for digest, targets in users.items():
        blobs[_owner(targets)].append(digest)
    members: dict[str, list[LinkMember]] = defaultdict(list)
    for file in ordered:
        if len(file.blobs) == 1:
            members[_owner(file.targets)].append(LinkMember(path=file.path, to=_to_blob(file)))
    for link in links:
        members[_owner(link.targets)].append(LinkMember(path=link.path, to=link.to))
    return tuple(
        VolumeGroup(
            target=target,
            blobs=tuple(blobs[target]),
            links=tuple(sorted(members[target], key=lambda member: member.path)),
        )
        for target in sorted({*blobs, *members})
    )


def _owner(targets: Iterable[str]) -> str:
    found = sorted(targets)
    return found[0] if len(found) == 1 else ""


def _to_blob(file: FileEntry) -> str:
    return posixpath.join(*[".."] * file.path.count("/"), BLOBS + file.blobs[0])
