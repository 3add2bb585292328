"""Evidence: what the audit log knows of one bundle, put in order for a security officer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bundler.clock import iso, now
from bundler.deploy.audit import AuditLog, Record
from bundler.deploy.audit_check import AuditReport, check_log
from bundler.deploy.places import Places
from bundler.deploy.receipts import receipts
from bundler.errors import CommandFailed, Problem, ToolMissing, UsageError
from bundler.process import Command, run
from bundler.version import own_version

#: The order of checks, as docs/explanation/architecture.md has it.
STEPS = (
    "Trust updates: a new trust document counts only with the quorums of the old one and of its own.",
    "SHA256SUMS and signatures are read into memory: bounded, regular files only.",
    "Quorum: enough different trusted signers, right namespace, no revoked key, by two independent verifiers.",
    "SHA256SUMS is parsed strictly, from the very bytes that were signed.",
    "bundle.json is the listed one; the set of files is the list.",
    "Meaning: format, site, target; sequence, floor, revocation; no second content of one sequence.",
    "There is room for what the signed sizes announce.",
    "Every byte is copied from the medium once, into private staging, and hashed on the way.",
    "Every file has its signed size and digest.",
    "State is raised before anything is activated, so a kill can only make the site refuse more.",
)
_OF_HOSTS = (
    "staged",
    "activated",
    "rolled back",
    "failed",
    "checked",
    "repaired",
    "pruned",
    "venv installed",
    "venv rolled back",
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the log has on one bundle. ``openssh``: the version on this host now."""

    bundle: str
    made: str
    tool: str
    openssh: str
    verified: tuple[Record, ...]
    refused: tuple[Record, ...]
    recorded: tuple[Record, ...]
    trust: tuple[Record, ...]
    hosts: dict[str, tuple[Record, ...]]
    log: AuditReport

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the bundle's SHA256SUMS, as it was last accepted."""
        return str(self.verified[-1].facts.get("sha256sums", ""))

    def value(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "bundle": self.bundle,
            "sha256sums": self.digest,
            "made": self.made,
            "tool": self.tool,
            "openssh": self.openssh,
            "steps": list(STEPS),
            "trust": [_plain(record) for record in self.trust],
            "verified": [_plain(record) for record in self.verified],
            "recorded": [_plain(record) for record in self.recorded],
            "refused": [_plain(record) for record in self.refused],
            "hosts": {name: [_plain(record) for record in found] for name, found in self.hosts.items()},
            "log": {
                "records": self.log.records,
                "head": self.log.head,
                "problems": [str(problem) for problem in self.log.problems],
                "recovered": list(self.log.recovered),
            },
        }


def _plain(record: Record) -> dict[str, Any]:
    return {
        "number": record.number,
        "time": record.time,
        "who": dict(record.who),
        "tool": record.tool,
        "event": record.event,
        "facts": dict(record.facts),
    }


def gather_evidence(places: Places, bundle: str = "") -> Evidence:
    """Return what the log has on ``bundle``; without one, on what was activated last, else verified last.

    Raises:
        UsageError: The log has no such bundle.
    """
    records = tuple(AuditLog(places.log).records())
    chosen = bundle or _last(records)
    verified = _of(records, ("verified",), chosen)
    if not verified:
        known = sorted({str(one.facts.get("bundle")) for one in records if one.event == "verified"})
        raise UsageError(
            f"the audit log has no bundle {chosen} that was accepted"
            if chosen
            else "no bundle was accepted here yet",
            hint=f"it has {', '.join(known)}" if known else "bundle-install verify BUNDLE comes first",
        )
    digest, line, sequence = verified[-1].facts.get("sha256sums"), *chosen.rpartition("-")[::2]
    recorded = [
        one
        for one in records
        if one.event == "recorded" and (one.facts.get("line"), str(one.facts.get("sequence"))) == (line, sequence)
    ]
    refused = [
        one
        for one in records
        if one.event == "refused" and (one.facts.get("bundle") == chosen or one.facts.get("sha256sums") == digest)
    ]
    return Evidence(
        bundle=chosen,
        made=iso(now()),
        tool=own_version(),
        openssh=openssh_version(),
        verified=verified,
        refused=tuple(refused),
        recorded=tuple(recorded),
        trust=tuple(one for one in records if one.event in ("trust initialised", "trust updated", "distrust")),
        hosts=_hosts(records, chosen),
        log=check_audit(places),
    )


def check_audit(places: Places) -> AuditReport:
    """Check the log's chain, and that every receipt of this site still finds its head there."""
    heads: list[tuple[str, int, str]] = []
    problems: list[Problem] = []
    for path, found in receipts(places):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            heads.append((path.name, found.records, found.head))
    report = check_log(AuditLog(places.log), heads)
    both = (*report.problems, *problems)
    return AuditReport(records=report.records, head=report.head, problems=both, recovered=report.recovered)


def _last(records: Sequence[Record]) -> str:
    for event in ("activated", "verified"):
        found = next((one for one in reversed(records) if one.event == event), None)
        if found is not None:
            return str(found.facts.get("bundle", ""))
    return ""


def _of(records: Sequence[Record], events: Sequence[str], bundle: str) -> tuple[Record, ...]:
    return tuple(one for one in records if one.event in events and one.facts.get("bundle") == bundle)


def _hosts(records: Sequence[Record], bundle: str) -> dict[str, tuple[Record, ...]]:
    """Return for every host that ever got the bundle what was done to it since then, this bundle or all of it."""
    found: dict[str, list[Record]] = {}
    for one in records:
        name = one.facts.get("host")
        if not isinstance(name, str) or one.event not in _OF_HOSTS:
            continue
        if one.facts.get("bundle") == bundle or bundle in one.facts.get("bundles", ()):
            found.setdefault(name, []).append(one)
        elif "bundle" not in one.facts and "bundles" not in one.facts and name in found:
            found[name].append(one)
    return {name: tuple(found[name]) for name in sorted(found)}


def openssh_version() -> str:
    """Return what ``ssh -V`` says, which ssh-keygen belongs to; empty without it."""
    try:
        said = run(Command(argv=["ssh", "-V"]), check=False).stderr
    except (CommandFailed, ToolMissing):
        return ""
    return said.decode("utf-8", "replace").strip()
