"""What of a bundle's sources, proofs and programs is new to a second signer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import urlsplit

from bundler.bundle.layout import INSTALLER, SUMS, VERIFY_SH
from bundler.bundle.medium import read_bounded
from bundler.bundle.reader import Bundle
from bundler.model.contents import MAX_SUMS, Contents
from bundler.model.review_facts import Finding, Source, State
from bundler.model.sums import parse_sums
from bundler.venvs.proof_report import Check, ProofReport
from bundler.workflows.review_evidence import Evidence

LOCAL = "this build host"
_NAMED = 5


def host_of(source: Source) -> str:
    """Return the host that a source came from, or that it lay on the build host."""
    return urlsplit(source.uri.removeprefix("git+")).hostname or LOCAL


def source_findings(new: Evidence, old: Evidence | None) -> Iterator[Finding]:
    """Yield hosts that nothing came from before, packages that come from elsewhere now, constraint layers."""
    known = _by_host(old) if old else {}
    for host, packages in sorted(_by_host(new).items()):
        if host not in known:
            named = ", ".join(packages[:_NAMED])
            more = f" and {len(packages) - _NAMED} more" if len(packages) > _NAMED else ""
            yield Finding(kind="source", state="new", subject=host, name="host", detail=named + more)
    if old:
        yield from _moved(new, old)
    before = old.constraints if old else {}
    for name, source in sorted(new.constraints.items()):
        was = before.get(name)
        if source != was:
            state: State = "changed" if was else "new"
            yield Finding(
                kind="source",
                state=state,
                subject=name,
                name="constraint layer",
                detail=_layer(source),
                old=_layer(was),
            )


def _by_host(evidence: Evidence) -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for (name, _), sources in evidence.sources.items():
        for source in sources:
            found[host_of(source)].add(name)
    return {host: sorted(names) for host, names in found.items()}


def _moved(new: Evidence, old: Evidence) -> Iterator[Finding]:
    """Yield packages that were there and now come from another host, repository or kind of source."""
    before, after = _origins(old), _origins(new)
    for name in sorted({*before} & {*after}):
        for origin in sorted(after[name] - before[name]):
            yield Finding(
                kind="source",
                state="changed",
                subject=name,
                name="origin",
                detail=origin,
                old=" or ".join(sorted(before[name])),
            )


def _origins(evidence: Evidence) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for (name, _), sources in evidence.sources.items():
        found[name].update(_origin(source) for source in sources)
    return found


def _origin(source: Source) -> str:
    if source.kind == "git":
        return source.uri.rpartition("@")[0]
    return f"{source.kind} from {host_of(source)}"


def _layer(source: Source | None) -> str:
    return f"{source.uri} ({source.digest})" if source else ""


def proof_findings(
    new: Contents, evidence: Evidence, old: Contents, old_evidence: Evidence | None
) -> Iterator[Finding]:
    """Yield failures that were accepted, with their reasons, and venvs that were not proved."""
    before = {key for report in (old_evidence.reports if old_evidence else ()) for key, _ in _accepted(report)}
    for report in evidence.reports:
        for key, check in _accepted(report):
            yield Finding(
                kind="proof",
                state="known" if key in before else "new",
                subject=report.venv,
                name=_check_name(check),
                detail=f"{check.error}; accepted: {check.accepted}",
                where=(report.target,),
            )
    unproved = {(venv.name, venv.target) for venv in old.venvs if not venv.proof.passed}
    for venv in new.venvs:
        if not venv.proof.passed:
            state: State = "known" if (venv.name, venv.target) in unproved else "new"
            yield Finding(
                kind="proof",
                state=state,
                subject=venv.name,
                name="not proved",
                detail=f"proof level {venv.proof.level}",
                where=(venv.target,),
            )


def _accepted(report: ProofReport) -> Iterator[tuple[tuple[str, ...], Check]]:
    for check in report.checks:
        if check.accepted:
            yield (report.venv, report.target, check.kind, check.group, check.name, check.accepted), check


def _check_name(check: Check) -> str:
    return " ".join(part for part in (check.package, check.group, check.name) if part)


def program_findings(new: Bundle, old: Bundle | None) -> Iterator[Finding]:
    """Yield the programs that the bundle brings to the site, where they are others than before."""
    before = _programs(old) if old else {}
    for name, digest in _programs(new).items():
        was = before.get(name, "")
        if digest != was:
            state: State = "changed" if was else "new"
            yield Finding(kind="program", state=state, subject=name, name="sha256", detail=digest, old=was)


def _programs(bundle: Bundle) -> dict[str, str]:
    sums = parse_sums(read_bounded(bundle.medium, SUMS, MAX_SUMS))
    return {name: sums[name] for name in (INSTALLER, VERIFY_SH) if name in sums}
