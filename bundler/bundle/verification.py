"""The trusted state machine: decides whether a bundle is what its signers signed. Fed with bytes in order.

It opens no file: ``verify``, ``install`` and the repo host feed it from a directory, a tar or a connection. Steps:

    1   trust updates                                                  (the caller's, before this object exists)
    2   SHA256SUMS and signatures in memory, bounded                   take_signatures, take_unsigned
    3   quorum of distinct trusted signers                             take_signatures
    4   strict parse of those same bytes                               take_signatures, take_unsigned
    5   bundle.json: cap, digest, strict parse; file set = list        take_contents; take_names, expect_all
    6   meaning: does it hold together; is everything proved           take_contents, then the caller's own admission
    7   space and counts from signed sizes                             (the caller's: ``contents`` has the sizes)
    8   copy each byte once, hashing as it is copied                   check → update → finish; the caller copies
    9   every file by size and digest                                  finish
    10  state last, activation after state                             (the caller's, after ``verified``)

A site may carry a part of a bundle: volumes and tables of targets that it does not have may be missing, and those
volumes are not looked at. Everything else that is listed must be there; nothing that is not listed may be.

Bad data raises a BundlerError; a step out of order is an error in the calling program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from bundler.bundle.layout import BUNDLE_JSON, SIGNATURE, SUMS
from bundler.bundle.structure import check_structure
from bundler.errors import FileMissing, FileUnlisted, FormatError, IntegrityError, Problem
from bundler.model.contents import MAX_BUNDLE_JSON, MAX_SIGNATURE, MAX_SIGNATURES, MAX_SUMS, Contents
from bundler.model.contents_check import check_contents, check_proofs
from bundler.model.contents_json import parse_contents
from bundler.model.sums import parse_sums
from bundler.model.tables import table_names
from bundler.signing.trust import Judge, Policy, Quorum, count

#: Most bytes of a file whose size is not signed: the evidence, the installer, tables, texts.
MAX_UNSIZED = 256 << 20
_COPY = "copy the bundle anew from its source"
_ALL = "give all media that carry the bundle, or copy it anew from its source"


class _Stage(IntEnum):
    NEW = 0
    LISTED = 1
    UNDERSTOOD = 2
    NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A bundle that passed. ``digest`` is the SHA-256 of SHA256SUMS: the bundle's identity.

    ``unread``: listed files of targets that the site does not have, which nobody looked at.
    """

    contents: Contents
    digest: str
    quorum: Quorum
    unread: tuple[str, ...] = ()


class Verification:
    """One bundle on its way to being trusted. ``targets``: those of a site; None: the whole bundle must be there."""

    def __init__(self, targets: Collection[str] | None = None) -> None:
        self._stage = _Stage.NEW
        self._targets = targets
        self._sums: dict[str, str] = {}
        self._digest = ""
        self._quorum = Quorum(signers=(), uncounted=())
        self._contents: Contents | None = None
        self._foreign_volumes: frozenset[str] = frozenset()
        self._foreign_tables: frozenset[str] = frozenset()
        self._found: set[str] = set()
        self._checked: set[str] = set()

    def take_signatures(self, sums: bytes, signatures: Mapping[str, bytes], policy: Policy, judge: Judge) -> Quorum:
        """Accept ``SHA256SUMS`` if enough of the signatures (by file name) over it count.

        Raises:
            SignatureRefused: Too few distinct trusted signers.
            FormatError: Something is too large, or the list is malformed.
        """
        self._expect(_Stage.NEW)
        # 2: bounds before anything is looked at.
        if len(signatures) > MAX_SIGNATURES:
            raise FormatError(f"more than {MAX_SIGNATURES} signatures")
        large = [name for name, data in signatures.items() if len(data) > MAX_SIGNATURE]
        if large or len(sums) > MAX_SUMS:
            raise FormatError(f"{large[0] if large else SUMS} is too large")
        # 3: the quorum, over bytes that nothing has parsed yet.
        verdicts = [judge(sums, name, data) for name, data in sorted(signatures.items())]
        self._quorum = count(policy, verdicts)
        # 4
        self._list(sums)
        return self._quorum

    def take_unsigned(self, sums: bytes) -> None:
        """Accept ``SHA256SUMS`` without a signature: for whoever is about to sign. Never says that it is trusted.

        Raises:
            FormatError: The list is malformed.
        """
        self._expect(_Stage.NEW)
        self._list(sums)

    def _list(self, sums: bytes) -> None:
        self._sums = parse_sums(sums)
        self._digest = hashlib.sha256(sums).hexdigest()
        if BUNDLE_JSON not in self._sums:
            raise FormatError(f"{SUMS} does not list {BUNDLE_JSON}")
        self._stage = _Stage.LISTED

    @property
    def digest(self) -> str:
        """Return the SHA-256 of SHA256SUMS."""
        return self._digest

    def take_contents(self, data: bytes) -> Contents:
        """Accept ``bundle.json`` and return what it says.

        Raises:
            IntegrityError: It is not the one that is listed.
            FormatError: It does not parse.
            ContentsRefused: It contradicts itself or the list.
            PolicyRefused: A venv was not proved and the bundle does not say that this is allowed.
        """
        self._expect(_Stage.LISTED)
        # 5: cap, digest, strict parse
        if len(data) > MAX_BUNDLE_JSON:
            raise FormatError(f"{BUNDLE_JSON} is larger than {MAX_BUNDLE_JSON} bytes")
        self._match(BUNDLE_JSON, hashlib.sha256(data).hexdigest())
        contents = parse_contents(data)
        # 6
        check_contents(contents)
        check_structure(contents, self._sums)
        check_proofs(contents)
        self._contents = contents
        if self._targets is not None:
            self._foreign_volumes, self._foreign_tables = _foreign(contents, self._targets)
        self._stage = _Stage.UNDERSTOOD
        return contents

    @property
    def contents(self) -> Contents:
        """Return what ``bundle.json`` says."""
        return self._understood()

    def take_names(self, names: Iterable[str]) -> None:
        """Accept the names that a medium holds, if nothing but listed files is there. Again for each further medium.

        Raises:
            FileUnlisted: A file is there that is not listed.
        """
        self._expect(_Stage.UNDERSTOOD, _Stage.NAMED)
        # 5: file set = list: nothing more
        found = {name for name in names if name != SUMS and SIGNATURE.fullmatch(name) is None}
        extra = sorted(found - set(self._sums))
        if extra:
            raise FileUnlisted(
                f"{extra[0]!r} is not listed in {SUMS}",
                hint="nothing vouches for it: find out who put it there, then remove it",
                problems=_each(extra, "not listed"),
            )
        self._found |= found
        self._stage = _Stage.NAMED

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the names that must be there and are on no medium so far."""
        self._expect(_Stage.NAMED)
        return tuple(sorted(self._needed() - self._found))

    def expect_all(self) -> None:
        """Refuse to go on with a part: no further medium will come.

        Raises:
            FileMissing: Naming every listed file that is not there and must be.
        """
        # 5: file set = list: nothing less
        missing = self.missing
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise FileMissing(f"{missing[0]} is missing{more}", hint=_ALL, problems=_each(missing, "missing"))

    @property
    def pending(self) -> tuple[str, ...]:
        """Return the names that are there and whose bytes have not been checked yet."""
        self._expect(_Stage.NAMED)
        return tuple(sorted(self._found - self._foreign_volumes - self._checked))

    def check(self, name: str) -> FileCheck:
        """Return the check of one pending file. Several may run at once, each in its own thread."""
        if name not in self.pending:
            raise RuntimeError(f"{name} is not pending")
        contents = self._understood()
        size = next((volume.size for volume in contents.volumes if volume.name == name), None)
        return FileCheck(name=name, sha256=self._sums[name], size=size)

    def accept(self, check: FileCheck) -> None:
        """Take note of a file whose bytes were all fed.

        Raises:
            IntegrityError: They are not the listed ones.
        """
        self._expect(_Stage.NAMED)
        # 9
        check.finish()
        self._checked.add(check.name)

    def accept_copies(self, names: Collection[str]) -> None:
        """Take the caller's word for files that an earlier run copied through checks of this very list."""
        self._expect(_Stage.UNDERSTOOD, _Stage.NAMED)
        known = set(names) & set(self._sums)
        self._found |= known
        self._checked |= known

    def verified(self) -> Verified:
        """Return the outcome, once every file was accepted."""
        waiting = self.pending or self.missing
        if waiting:
            raise RuntimeError(f"{waiting[0]} has not been checked")
        unread = tuple(sorted(set(self._sums) - self._checked))
        return Verified(contents=self._understood(), digest=self._digest, quorum=self._quorum, unread=unread)

    def _needed(self) -> set[str]:
        return set(self._sums) - self._foreign_volumes - self._foreign_tables

    def _understood(self) -> Contents:
        if self._contents is None:
            raise RuntimeError("bundle.json comes first")
        return self._contents

    def _match(self, name: str, found: str) -> None:
        check = FileCheck(name=name, sha256=self._sums[name], size=None)
        check.compare(found)
        self._checked.add(name)

    def _expect(self, *stages: _Stage) -> None:
        if self._stage not in stages:
            raise RuntimeError(f"step out of order: at {self._stage.name}, not {stages[-1].name}")


class FileCheck:
    """Takes the bytes of one file, in order, and compares them with what was signed."""

    def __init__(self, *, name: str, sha256: str, size: int | None) -> None:
        self.name = name
        self._sha256 = sha256
        self._size = size
        self._length = 0
        self._hash = hashlib.sha256()

    def announce(self, size: int) -> None:
        """Refuse a file of the wrong size before its bytes are read.

        Raises:
            IntegrityError: The size is not the signed one, or more than any file without one has.
        """
        if self._size is not None and size != self._size:
            how = "cut off" if size < self._size else "too long"
            raise IntegrityError(f"{self.name} is {how}: {size} bytes instead of {self._size}", hint=_COPY)
        self._bound(size)

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            IntegrityError: There are more than there may be.
        """
        self._length += len(data)
        self._bound(self._length)
        self._hash.update(data)

    def finish(self) -> None:
        """Compare.

        Raises:
            IntegrityError: Size or digest is not the signed one.
        """
        self.announce(self._length)
        self.compare(self._hash.hexdigest())

    def compare(self, found: str) -> None:
        """Refuse another digest than the listed one.

        Raises:
            IntegrityError: Naming both.
        """
        if found != self._sha256:
            raise IntegrityError(
                f"{self.name} is not what was signed: SHA-256 {found}, expected {self._sha256}", hint=_COPY
            )

    def _bound(self, size: int) -> None:
        limit = MAX_UNSIZED if self._size is None else self._size
        if size > limit:
            raise IntegrityError(f"{self.name} is too long: it has more than {limit} bytes", hint=_COPY)


def _foreign(contents: Contents, targets: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the volumes and the tables of targets that the site does not have."""
    volumes = (volume.name for volume in contents.volumes if volume.target and volume.target not in targets)
    tables = (name for one in contents.targets if one.name not in targets for name in table_names(one.name))
    return frozenset(volumes), frozenset(tables)


def _each(names: Iterable[str], what: str) -> list[Problem]:
    return [Problem(where=repr(name), what=what) for name in names]
