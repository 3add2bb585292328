"""Show a second signer what changed since the last signed bundle, before ``sign``.

What is compared: what ``bundle.json`` lists, the wheels read straight from the volumes, and the evidence. That the
venv archives hold those wheels and nothing else is shown by a rebuild that gives the same SHA256SUMS, not here.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from bundler.bundle.reader import Bundle, open_bundle
from bundler.clock import stopwatch
from bundler.errors import BundlerError, FormatError, Problem
from bundler.events import Emit, ItemFinished, ItemStarted, StageAdvanced, StageFinished, StageStarted, Warned, ignore
from bundler.model.bundle_diff import GroupedChange, diff_contents, group_changes, packages_by_place
from bundler.model.contents import Contents, PackageEntry
from bundler.model.inspection import blob_sizes
from bundler.model.review_facts import Finding, Review, ReviewedChange, WheelFacts, compare, merge
from bundler.workflows.review_evidence import Evidence, load_evidence
from bundler.workflows.review_sources import program_findings, proof_findings, source_findings
from bundler.workflows.review_wheels import read_wheel

_STAGE = "review"

#: The packages of every target, by name.
_Packages: TypeAlias = dict[tuple[str, str], list[PackageEntry]]


@dataclass(frozen=True, kw_only=True)
class ReviewRequest:
    """The bundle to be signed, and the last one that was (None: everything is new)."""

    bundle: Path
    against: Path | None = None


def review(request: ReviewRequest, emit: Emit = ignore) -> Review:
    """Return what changed. Nobody's signature is checked.

    Raises:
        BundleError: A bundle is damaged, a volume is missing, or a wheel is none; ``problems`` lists the wheels.
    """
    with open_bundle(request.bundle) as new, _open_old(request.against) as old:
        if old is not None and old.contents.name != new.contents.name:
            emit(Warned(message=f"{old.contents.name} and {new.contents.name} are two different releases"))
        before = old.contents if old else _nothing(new.contents)
        evidence = load_evidence(new)
        old_evidence = load_evidence(old) if old else None
        wheels = _Wheels(bundles=[new, *([old] if old else [])], emit=emit)
        findings = [
            *_wheel_findings(before, new.contents, wheels),
            *source_findings(evidence, old_evidence),
            *proof_findings(new.contents, evidence, before, old_evidence),
            *program_findings(new, old),
        ]
        changes = group_changes(diff_contents(before, new.contents).venvs)
        packages = tuple(_reviewed(changes, new.contents, evidence, wheels.facts))
        return Review(
            bundle=new.contents.id,
            digest=new.digest,
            tool=new.contents.tool,
            against=old.contents.id if old else "",
            packages=packages,
            findings=merge(findings),
        )


@contextlib.contextmanager
def _open_old(path: Path | None) -> Iterator[Bundle | None]:
    if path is None:
        yield None
        return
    with open_bundle(path) as bundle:
        yield bundle


def _nothing(contents: Contents) -> Contents:
    return replace(contents, targets=(), files=(), links=(), volumes=(), venvs=())


def _packages(contents: Contents) -> _Packages:
    found: _Packages = defaultdict(list)
    for (_, target), packages in packages_by_place(contents).items():
        for package in packages.values():
            found[(target, package.name)].append(package)
    return found


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A wheel that was not there before, and the wheels it is compared with."""

    package: PackageEntry
    target: str
    before: tuple[PackageEntry, ...]


def _tasks(old: Contents, new: Contents) -> Iterator[_Task]:
    """Yield every new wheel with the same package's wheels on the same target, else on any."""
    before = _packages(old)
    known = {package.wheel_sha256 for packages in before.values() for package in packages}
    anywhere: dict[str, list[PackageEntry]] = defaultdict(list)
    for (_, name), packages in before.items():
        anywhere[name] += packages
    for (target, name), packages in sorted(_packages(new).items()):
        base = before.get((target, name)) or anywhere[name]
        for package in {package.wheel_sha256: package for package in packages}.values():
            if package.wheel_sha256 not in known:
                yield _Task(package=package, target=target, before=tuple(base))


def _wheel_findings(old: Contents, new: Contents, wheels: _Wheels) -> Iterator[Finding]:
    tasks = list(_tasks(old, new))
    wheels.load(tasks)
    for task in tasks:
        package = task.package
        about = Finding(
            kind="unread",
            state="new",
            subject=package.name,
            name=package.wheel,
            version=package.version,
            where=(task.target,),
        )
        facts = wheels.facts.get(package.wheel_sha256)
        if facts is None:
            yield replace(about, detail="no volume carries this wheel: its base bundle has it")
            continue
        known = [wheels.facts[one.wheel_sha256] for one in task.before if one.wheel_sha256 in wheels.facts]
        yield from compare(facts, known, about)


class _Wheels:
    """Reads each wheel once, from the first bundle whose volumes carry it."""

    def __init__(self, bundles: Sequence[Bundle], emit: Emit) -> None:
        self.facts: dict[str, WheelFacts] = {}
        self._bundles = [(bundle, blob_sizes(bundle.contents)) for bundle in bundles]
        self._emit = emit

    def load(self, tasks: Sequence[_Task]) -> None:
        """Read the wheels of all tasks; the ones that nobody carries are left out.

        Raises:
            FormatError: Some are no wheels: ``problems`` lists them all.
        """
        started = stopwatch()
        names = {one.wheel_sha256: one.wheel for task in tasks for one in (task.package, *task.before)}
        carried = {digest: name for digest, name in sorted(names.items()) if self._bundle(digest)}
        self._emit(StageStarted(stage=_STAGE, total=len(carried)))
        problems = [problem for digest, name in carried.items() for problem in self._load(digest, name)]
        if problems:
            raise FormatError(f"{len(problems)} wheels cannot be read", hint="do not sign this", problems=problems)
        self._emit(StageFinished(stage=_STAGE, seconds=stopwatch() - started, items=len(carried)))

    def _bundle(self, digest: str) -> Bundle | None:
        return next((bundle for bundle, sizes in self._bundles if digest in sizes), None)

    def _load(self, digest: str, name: str) -> Iterator[Problem]:
        bundle = self._bundle(digest)
        if bundle is None:
            return
        self._emit(ItemStarted(stage=_STAGE, item=name))
        with bundle.open_blob(digest) as file:
            try:
                self.facts[digest] = read_wheel(file, name)
            except BundlerError as error:
                yield Problem(where=name, what=error.message)
        self._emit(ItemFinished(stage=_STAGE, item=name))
        self._emit(StageAdvanced(stage=_STAGE))


def _reviewed(
    changes: Sequence[GroupedChange], contents: Contents, evidence: Evidence, facts: Mapping[str, WheelFacts]
) -> Iterator[ReviewedChange]:
    """Yield each change with the licences and sources of the wheels that the package now has."""
    entries = {
        (package.name, package.wheel_sha256): package
        for packages in packages_by_place(contents).values()
        for package in packages.values()
    }
    for change in changes:
        packages = [entries[key] for digest in change.wheels if (key := (change.name, digest)) in entries]
        found = (evidence.of(one.name, one.version, one.kind, one.wheel_sha256) for one in packages)
        licences = {facts[digest].licence for digest in change.wheels if digest in facts}
        yield ReviewedChange(
            change=change,
            kind=" or ".join(sorted({package.kind for package in packages if package.kind})),
            licence=" or ".join(sorted(licences)),
            sources=tuple(dict.fromkeys(source for sources in found for source in sources)),
        )
