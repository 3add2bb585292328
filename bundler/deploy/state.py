"""What a site has seen: highest sequences, their digests, floors and the time floor. All of it only ever rises.

``state.json`` is written before anything is activated, so a kill can only make the site refuse more. A state that
cannot be read is an error, and so is one that is gone or older than what the audit log recorded: whoever can make a
site forget could make it take an old release again. Nothing resets it.

The time floor is the highest ``created`` of an accepted bundle. A clock behind it is worth a warning and decides
nothing, unless the site sets ``limits.max_age_days``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bundler.clock import iso, now
from bundler.deploy.audit import AuditLog
from bundler.deploy.places import Places
from bundler.errors import Busy, EquivocationRefused, FormatError, IntegrityError, StoreError
from bundler.files import make_directory, room_for, sweep, write
from bundler.model.json_fields import Fields, Node, load_json

FORMAT = 1
#: A line of a hundred bytes per bundle ever taken: this is never reached.
MAX_STATE = 64 << 20
_LINE = re.compile(r"[a-z0-9][A-Za-z0-9._+-]{0,159}")
_KEY = re.compile(r"[a-z0-9][A-Za-z0-9._+-]{0,159}/[0-9]{1,16}/[0-9]{1,16}")
_KEYS = frozenset({"format", "created", "seen", "floors", "digests"})
_MOVE_ON = "restore it from a backup; docs/guide/evidence.md says what else can be done"


@dataclass(frozen=True, kw_only=True)
class SeenBundle:
    """The highest bundle of a line that the site accepted; ``digest`` is that of its SHA256SUMS."""

    epoch: int
    sequence: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class SiteState:
    """By line (``<name>-<version>``): the highest bundle and the floor; by ``line/epoch/sequence``: every digest.

    ``created`` is the time floor in seconds since the epoch.
    """

    seen: Mapping[str, SeenBundle] = field(default_factory=dict)
    floors: Mapping[str, int] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    created: int = 0


def read_state(places: Places) -> SiteState:
    """Return the site's state; that of a new site is empty.

    Raises:
        IntegrityError: It cannot be what was written: garbled, or less than what the audit log recorded.
        StoreError: It cannot be read.
    """
    state = _read(places)
    for record in AuditLog(places.log).records_of("recorded"):
        _check_recorded(places, state, record.facts, record.line)
    return state or SiteState()


def record_bundle(  # noqa: PLR0913 — six facts of one bundle, each named by the caller
    places: Places, *, line: str, epoch: int, sequence: int, digest: str, floor: int, created: int
) -> SiteState:
    """Remember an accepted bundle durably, then log that; return the state. Whatever is lower changes nothing.

    Raises:
        EquivocationRefused: Another bundle of this line, epoch and sequence was accepted before.
        IntegrityError: The state cannot be what was written.
    """
    with _alone(places):
        state = read_state(places)
        key = f"{line}/{epoch}/{sequence}"
        known = state.digests.get(key, digest)
        if known != digest:
            raise EquivocationRefused(
                f"{line}-{sequence} was accepted before with SHA256SUMS {known}, this one is {digest}",
                hint="do not install it; keep both and report it: somebody signed two bundles of one number",
            )
        seen = SeenBundle(epoch=epoch, sequence=sequence, digest=digest)
        risen = SiteState(
            seen={**state.seen, line: max(seen, state.seen.get(line, seen), key=_order)},
            floors={**state.floors, line: max(floor, state.floors.get(line, 0))},
            digests={**state.digests, key: digest},
            created=max(created, state.created),
        )
        if risen == state:
            return state
        write(places.seen, _format(risen), mode=0o600)
        facts = {"line": line, "epoch": epoch, "sequence": sequence, "digest": digest, "created": created}
        AuditLog(places.log).append("recorded", {**facts, "floor": floor})
        return risen


@contextlib.contextmanager
def hold(places: Places) -> Iterator[None]:
    """Be the one run that changes this site.

    What killed runs left unfinished is removed.

    Raises:
        Busy: Another run is; says which process and since when.
        SpaceError: There is no room even for a file without content.
    """
    with room_for(places.lock):
        make_directory(places.state)
        handle = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 200, 0).decode("ascii", "replace").strip()
            raise Busy(
                f"another run works on this site: {holder or 'it has only begun'}",
                hint="wait for its end; the lock goes with the process, however that ends",
            ) from error
        # It holds without these words too: prune works on a full disk.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} since {iso(now())}\n".encode(), 0)
        for directory in (places.state, places.config):
            sweep(directory)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _alone(places: Places) -> Iterator[None]:
    """Let nobody else read and write the state meanwhile, whether or not they hold the site."""
    make_directory(places.state)
    handle = os.open(places.state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _order(seen: SeenBundle) -> tuple[int, int]:
    return seen.epoch, seen.sequence


def _read(places: Places) -> SiteState | None:
    try:
        with places.seen.open("rb") as file:
            data = file.read(MAX_STATE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {places.seen}: {error.strerror}", hint="run it as root") from error
    try:
        return _parse(data)
    except FormatError as error:
        raise IntegrityError(f"{places.seen}: {error.message}", hint=_MOVE_ON) from error


def _check_recorded(places: Places, state: SiteState | None, facts: Mapping[str, Any], line: int) -> None:
    """Compare what the log says was recorded once with what is remembered now."""
    where = f"{places.log.name} line {line}"
    if state is None:
        raise IntegrityError(
            f"{places.seen} is gone, but {where} recorded a bundle: this site would take old releases again",
            hint=_MOVE_ON,
        )
    name = str(facts.get("line"))
    key = f"{name}/{facts.get('epoch')}/{facts.get('sequence')}"
    floor = facts.get("floor")
    if state.digests.get(key) != facts.get("digest") or (
        isinstance(floor, int) and floor > state.floors.get(name, 0)
    ):
        raise IntegrityError(f"{places.seen} is older than {where}, or says something else of {key}", hint=_MOVE_ON)


def _parse(data: bytes) -> SiteState:
    if len(data) > MAX_STATE:
        raise FormatError(f"larger than {MAX_STATE} bytes")
    top = load_json(data, "state")
    unknown = sorted(set(top.values) - _KEYS)
    if unknown or top.node("format").integer() != FORMAT:
        raise FormatError(f"is of a format that this version does not know (unknown: {', '.join(unknown) or 'none'})")
    state = SiteState(
        seen={key: _seen(node.fields()) for key, node in _items(top, "seen", _LINE)},
        floors={key: node.integer() for key, node in _items(top, "floors", _LINE)},
        digests={key: node.digest() for key, node in _items(top, "digests", _KEY)},
        created=top.node("created").integer(),
    )
    for name, seen in state.seen.items():
        if state.digests.get(f"{name}/{seen.epoch}/{seen.sequence}") != seen.digest:
            raise FormatError(f"seen.{name}: digests says otherwise")
    return state


def _items(top: Fields, name: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, Node]]:
    fields = top.node(name).fields()
    for key in fields.values:
        if pattern.fullmatch(key) is None:
            raise FormatError(f"{name}: {key[:100]!r} is no valid name")
        yield key, fields.node(key)


def _seen(fields: Fields) -> SeenBundle:
    return SeenBundle(
        epoch=fields.node("epoch").integer(),
        sequence=fields.node("sequence").integer(),
        digest=fields.node("digest").digest(),
    )


def _format(state: SiteState) -> bytes:
    seen = {
        line: {"epoch": one.epoch, "sequence": one.sequence, "digest": one.digest} for line, one in state.seen.items()
    }
    document = {"format": FORMAT, "created": state.created, "seen": seen}
    document |= {"floors": dict(state.floors), "digests": dict(state.digests)}
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
