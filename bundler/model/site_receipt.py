"""A receipt: what a site says it has, signed with its deployment host's key, for the way home.

It may hold what repo hosts say themselves, as each of them signed it with its own host key.

One JSON document; the signature is over its bytes as they are, namespace ``receipt@offline``, in ``<file>.sig``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from bundler.errors import FormatError
from bundler.model.json_fields import Node, load_json
from bundler.model.site_kinds import HOST_NAME, SITE_NAME

FORMAT = 1
MAX_RECEIPT = 4 << 20
_SITE = re.compile(SITE_NAME)
_HOST = re.compile(HOST_NAME)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_LINE = re.compile(r"[a-z0-9][A-Za-z0-9._+-]{0,159}")
#: ``release <id> <state> <digest>``
_RELEASE_WORDS = 4
_NO_DIGEST = re.compile(r"|[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class HeldBundle:
    """A bundle on a host: its id, the digest of its SHA256SUMS (empty: not known), and since when."""

    bundle: str
    digest: str
    since: str


@dataclass(frozen=True, kw_only=True)
class HostState:
    """What a host is known to serve, and what it holds beside that."""

    name: str
    active: tuple[HeldBundle, ...] = ()
    staged: tuple[HeldBundle, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostReceipt:
    """What a repo host says that it has, and its signature over that (namespace ``receipt@offline``), by lines."""

    name: str
    lines: tuple[str, ...]
    signature: tuple[str, ...]

    @property
    def text(self) -> bytes:
        """Return the bytes that were signed."""
        return "".join(f"{line}\n" for line in self.lines).encode()

    @property
    def armored(self) -> bytes:
        """Return the signature as ssh-keygen has it."""
        return "".join(f"{line}\n" for line in self.signature).encode()

    @property
    def releases(self) -> tuple[tuple[str, str], ...]:
        """Return the bundles that it has, each with its state."""
        rows = (line.split(" ") for line in self.lines if line.startswith("release "))
        return tuple((row[1], row[2]) for row in rows if len(row) == _RELEASE_WORDS)


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """The highest bundle of a line that the site accepted."""

    epoch: int
    sequence: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """``records`` and ``head``: number and digest of the log's last record. ``trust_version`` 0: no trust yet.

    ``signed``: what hosts say themselves, where they were asked.
    """

    site: str
    time: str
    tool: str
    trust_version: int
    records: int
    head: str
    hosts: tuple[HostState, ...] = ()
    sequences: Mapping[str, Sequence] = field(default_factory=dict)
    signed: tuple[HostReceipt, ...] = ()

    @property
    def file_name(self) -> str:
        """Return ``receipt-<site>-<time>.json``."""
        return f"receipt-{self.site}-{self.time.replace('-', '').replace(':', '')}.json"


def format_receipt(receipt: Receipt) -> bytes:
    """Return the document's bytes."""
    return json.dumps({"format": FORMAT, **asdict(receipt)}, indent=1, sort_keys=True).encode() + b"\n"


def parse_receipt(data: bytes, what: str) -> Receipt:
    """Return the receipt; ``what`` names it in errors.

    Raises:
        FormatError: It is none, or of a later format.
    """
    if len(data) > MAX_RECEIPT:
        raise FormatError(f"{what}: larger than {MAX_RECEIPT} bytes")
    top = load_json(data, what)
    if top.node("format").integer() != FORMAT:
        raise FormatError(f"{what}: is of a later format", hint="read it with a newer version")
    sequences = top.node("sequences").fields()
    return Receipt(
        site=top.node("site").text(_SITE),
        time=top.node("time").text(_TIME),
        tool=top.node("tool").text(),
        trust_version=top.node("trust_version").integer(),
        records=top.node("records").integer(),
        head=top.node("head").digest(),
        hosts=top.node("hosts").each(_host),
        sequences={_line(line): _sequence(sequences.node(line)) for line in sequences.values},
        # Receipts of earlier versions have none.
        signed=top.node("signed", []).each(_signed),
    )


def _line(name: str) -> str:
    if _LINE.fullmatch(name) is None:
        raise FormatError(f"sequences: {name[:100]!r} is no valid name")
    return name


def _host(node: Node) -> HostState:
    fields = node.fields()
    return HostState(
        name=fields.node("name").text(_HOST),
        active=fields.node("active").each(_held),
        staged=fields.node("staged").each(_held),
    )


def _signed(node: Node) -> HostReceipt:
    fields = node.fields()
    return HostReceipt(
        name=fields.node("name").text(_HOST),
        lines=fields.node("lines").each(Node.text),
        signature=fields.node("signature").each(Node.text),
    )


def _held(node: Node) -> HeldBundle:
    fields = node.fields()
    return HeldBundle(
        bundle=fields.node("bundle").text(),
        digest=fields.node("digest").text(_NO_DIGEST),
        since=fields.node("since").text(_TIME),
    )


def _sequence(node: Node) -> Sequence:
    fields = node.fields()
    return Sequence(
        epoch=fields.node("epoch").integer(),
        sequence=fields.node("sequence").integer(),
        digest=fields.node("digest").digest(),
    )
