"""The trusted state machine: decides whether a bundle is what its signers signed. Fed with bytes in order.

It opens no file: ``verify``, ``install`` and the repo host feed it from a directory, a tar or a connection. Steps:

    1   trust updates                                                  (the caller's, before this object exists)
    2   SHA256SUMS and signatures in memory, bounded                   take_signatures, take_unsigned
    3   quorum of distinct trusted signers                             take_signatures
    4   strict parse of those same bytes                               take_signatures, take_unsigned
    5   bundle.json: cap, digest, strict parse; file set = list        take_names, take_contents
    6   meaning: does it hold together; is everything proved           take_contents, then the caller's own admission
    7   space and counts from signed sizes                             (the caller's: ``contents`` has the sizes)
    8   copy each byte once, hashing as it is copied                   check → update → finish; the caller copies
    9   every file by size and digest                                  finish
    10  state last, activation after state                             (the caller's, after ``verified``)

Bad data raises a BundlerError; a step out of order is an error in the calling program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from bundler.bundle.layout import BUNDLE_JSON, SIGNATURE, SUMS
from bundler.bundle.structure import check_structure
from bundler.errors import FileMissing, FileUnlisted, FormatError, IntegrityError, Problem
from bundler.model.contents import MAX_BUNDLE_JSON, MAX_SIGNATURE, MAX_SIGNATURES, MAX_SUMS, Contents
from bundler.model.contents_check import check_contents, check_proofs
from bundler.model.contents_json import parse_contents
from bundler.model.sums import parse_sums
from bundler.signing.trust import Judge, Policy, Quorum, count

_COPY = "copy the bundle anew from its source"


class _Stage(IntEnum):
    NEW = 0
    LISTED = 1
    NAMED = 2
    UNDERSTOOD = 3


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A bundle that passed. ``digest`` is the SHA-256 of SHA256SUMS: the bundle's identity."""

    contents: Contents
    digest: str
    quorum: Quorum


class Verification:
    """One bundle on its way to being trusted."""

    def __init__(self) -> None:
        self._stage = _Stage.NEW
        self._sums: dict[str, str] = {}
        self._digest = ""
        self._quorum = Quorum(signers=(), uncounted=())
        self._contents: Contents | None = None
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

    def take_names(self, names: Iterable[str]) -> None:
        """Accept the names that the bundle holds, if they are exactly the listed ones, the list and signatures.

        Raises:
            FileMissing: A listed file is not there.
            FileUnlisted: A file is there that is not listed.
        """
        self._expect(_Stage.LISTED)
        # 5: file set = list
        found = {name for name in names if name != SUMS and SIGNATURE.fullmatch(name) is None}
        missing = sorted(set(self._sums) - found)
        if missing:
            raise FileMissing(f"{missing[0]} is missing", hint=_COPY, problems=_each(missing, "missing"))
        extra = sorted(found - set(self._sums))
        if extra:
            raise FileUnlisted(
                f"{extra[0]!r} is not listed in {SUMS}",
                hint="nothing vouches for it: find out who put it there, then remove it",
                problems=_each(extra, "not listed"),
            )
        self._stage = _Stage.NAMED

    def take_contents(self, data: bytes) -> Contents:
        """Accept ``bundle.json`` and return what it says.

        Raises:
            IntegrityError: It is not the one that is listed.
            FormatError: It does not parse.
            ContentsRefused: It contradicts itself or the list.
            PolicyRefused: A venv was not proved and the bundle does not say that this is allowed.
        """
        self._expect(_Stage.NAMED)
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
        self._stage = _Stage.UNDERSTOOD
        return contents

    @property
    def pending(self) -> tuple[str, ...]:
        """Return the names whose bytes have not been checked yet."""
        self._expect(_Stage.UNDERSTOOD)
        return tuple(sorted(set(self._sums) - self._checked))

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
        self._expect(_Stage.UNDERSTOOD)
        # 9
        check.finish()
        self._checked.add(check.name)

    def verified(self) -> Verified:
        """Return the outcome, once every listed file was accepted."""
        if self.pending:
            raise RuntimeError(f"{self.pending[0]} has not been checked")
        return Verified(contents=self._understood(), digest=self._digest, quorum=self._quorum)

    def _understood(self) -> Contents:
        if self._contents is None:
            raise RuntimeError("bundle.json comes first")
        return self._contents

    def _match(self, name: str, found: str) -> None:
        check = FileCheck(name=name, sha256=self._sums[name], size=None)
        check.compare(found)
        self._checked.add(name)

    def _expect(self, stage: _Stage) -> None:
        if self._stage is not stage:
            raise RuntimeError(f"step out of order: at {self._stage.name}, not {stage.name}")


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
            IntegrityError: The size is not the signed one.
        """
        if self._size is not None and size != self._size:
            how = "cut off" if size < self._size else "too long"
            raise IntegrityError(f"{self.name} is {how}: {size} bytes instead of {self._size}", hint=_COPY)

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self._length += len(data)
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


def _each(names: Iterable[str], what: str) -> list[Problem]:
    return [Problem(where=repr(name), what=what) for name in names]
