"""What applying a bundle will do to each repo host, worked out before anything is touched. Pure.

Every problem of every host is found at once. A host that cannot be reached is no problem of the plan: it counts as
failed, and the gate decides what that means for the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bundler.deploy.outcome import problem_of
from bundler.deploy.retention import surplus
from bundler.errors import BundlerError, HostUnreachable, PlanRefused, Problem, TransferFailed
from bundler.model.contents import Contents, FileEntry
from bundler.model.site import RepoHost, Retention, Site
from bundler.repohost.port import HostBlobs, HostFacts, HostRelease, Seen

#: A file system rounds every file up; this much of the free space is never planned with.
_BLOCK = 4096
_SPARE = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A verified bundle: its digest, the epoch of its name, the newest trust document of the site."""

    contents: Contents
    digest: str
    epoch: int = 0
    trust: int = 0

    @property
    def line(self) -> str:
        """Return what one activation replaces: ``<name>-<version>``."""
        return f"{self.contents.name}-{self.contents.version}"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at a host gave, or why there was none."""

    host: RepoHost
    facts: HostFacts | None = None
    blobs: HostBlobs | None = None
    error: BundlerError | None = None


@dataclass(frozen=True, kw_only=True)
class HostPlan:
    """What happens to one host. ``writer``: the host of its shared root that writes for it, empty if it does itself.

    ``wanted``: the digests of all its blobs, of which ``missing`` are to be sent and ``copied`` lie there twice for a
    while; ``send``, ``have`` and ``resume`` are bytes: to be sent, there already, and there from a cut transfer.
    ``active``: the release of this line that is served now; ``ready``: ours is admitted there already;
    ``current``: it is served already.
    """

    host: str
    writer: str = ""
    targets: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    missing: int = 0
    copied: int = 0
    files: int = 0
    send: int = 0
    have: int = 0
    resume: int = 0
    needed: int = 0
    free: int = 0
    active: str = ""
    ready: bool = False
    current: bool = False
    trust: int = 0
    pruned: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    unreachable: BundlerError | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What happens to all hosts."""

    id: str
    line: str
    sequence: int
    digest: str
    hosts: tuple[HostPlan, ...]
    max_failed: int = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return the problems of all hosts."""
        return tuple(problem for host in self.hosts for problem in host.problems)

    @property
    def unreachable(self) -> tuple[HostPlan, ...]:
        """Return the hosts that did not answer."""
        return tuple(host for host in self.hosts if host.unreachable)

    def require_possible(self) -> None:
        """Refuse a plan that cannot be carried out.

        Raises:
            PlanRefused: With every problem of every host.
        """
        if self.problems:
            hosts = sum(1 for host in self.hosts if host.problems)
            raise PlanRefused(
                f"{self.id} cannot be applied as planned: problems on {hosts} of {len(self.hosts)} hosts",
                hint="nothing was touched; solve what is listed and run again",
                problems=self.problems,
            )

    def require_reachable(self) -> None:
        """Refuse if more hosts are away than the gate allows.

        Raises:
            HostUnreachable: Naming them.
        """
        gone = self.unreachable
        if len(gone) > self.max_failed:
            raise HostUnreachable(
                f"{len(gone)} of {len(self.hosts)} hosts cannot be reached, {self.max_failed} may fail",
                hint="apply would bring the release to the others and activate it nowhere",
                problems=[problem_of(host.host, host.unreachable) for host in gone if host.unreachable],
            )


def make_plan(incoming: Incoming, looks: Sequence[Look], site: Site) -> Plan:
    """Return what applying ``incoming`` does; hosts in the order of ``looks``."""
    writers = choose_writers(looks)
    return Plan(
        id=incoming.contents.id,
        line=incoming.line,
        sequence=incoming.contents.sequence,
        digest=incoming.digest,
        hosts=tuple(_plan_host(incoming, look, site, writers.get(look.host.shared_root, "")) for look in looks),
        max_failed=site.gates.max_failed,
    )


def choose_writers(looks: Iterable[Look]) -> dict[str, str]:
    """Return shared root → the host that writes to it: the first that answers."""
    writers: dict[str, str] = {}
    for look in looks:
        if look.host.shared_root and look.error is None:
            writers.setdefault(look.host.shared_root, look.host.name)
    return writers


def is_away(error: BundlerError) -> bool:
    """Return whether a host just does not answer, in contrast to being set up wrong."""
    return isinstance(error, (HostUnreachable, TransferFailed))


def active_release(facts: HostFacts, line: str) -> HostRelease | None:
    """Return the release of ``line`` that a host serves."""
    return next((one for one in facts.releases if one.line == line and one.state == "active"), None)


def _plan_host(incoming: Incoming, look: Look, site: Site, writer: str) -> HostPlan:
    host, facts = look.host, look.facts
    if look.error is not None or facts is None:
        return _unseen(look)
    # What others name is all that was staged.
    asked = host.targets or site.all_targets
    offered = tuple(target.name for target in incoming.contents.targets)
    targets = tuple(name for name in offered if not asked or name in asked)
    lacking = tuple(name for name in asked if name not in offered)
    found = active_release(facts, incoming.line)
    ours = admitted(incoming, facts, targets)
    plan = HostPlan(
        host=host.name,
        targets=targets,
        lacking=lacking,
        active=found.id if found else "",
        ready=ours is not None,
        current=ours is not None and ours.state == "active",
        trust=facts.trust,
        free=facts.free,
    )
    if writer not in {"", host.name}:
        return dataclasses.replace(plan, writer=writer)
    return _with_work(plan, incoming, look, site.retention)


def _unseen(look: Look) -> HostPlan:
    error = look.error or HostUnreachable(f"{look.host.name} was not asked")
    if is_away(error):
        return HostPlan(host=look.host.name, unreachable=error)
    return HostPlan(host=look.host.name, problems=(problem_of(look.host.name, error), *error.problems))


def admitted(incoming: Incoming, facts: HostFacts, targets: Sequence[str]) -> HostRelease | None:
    """Return our release where the host has admitted it, for all targets that it is to have."""
    for release in facts.releases:
        if release.id == incoming.contents.id and release.digest == incoming.digest:
            return release if set(targets) <= set(release.targets) else None
    return None


def _with_work(plan: HostPlan, incoming: Incoming, look: Look, retention: Retention) -> HostPlan:
    facts, blobs = look.facts or HostFacts(system="", free=0, inodes=0), look.blobs or HostBlobs()
    files = [file for file in incoming.contents.files if set(file.targets) & set(plan.targets)]
    sizes = blob_sizes(incoming.contents)
    wanted = dict.fromkeys(blob for file in files for blob in file.blobs)
    missing = () if plan.ready else tuple(digest for digest in wanted if digest not in blobs.complete)
    resume = sum(min(blobs.partial.get(digest, 0), sizes.get(digest, 0)) for digest in missing)
    send = sum(sizes.get(digest, 0) for digest in missing) - resume
    # In separate hands what was pushed is copied into the store: for a while it is there twice.
    coming = {*missing, *blobs.inbox}
    copied = [digest for digest in wanted if digest in coming] if look.host.admit else []
    twice = sum(sizes.get(digest, 0) + _BLOCK for digest in copied)
    plan = dataclasses.replace(
        plan,
        files=len(files),
        wanted=tuple(wanted),
        missing=len(missing),
        resume=resume,
        send=send,
        have=sum(sizes.get(digest, blobs.complete.get(digest, 0)) for digest in wanted) - send - resume,
        copied=0 if plan.ready else len(copied),
        needed=0 if plan.ready else send + _assembled(files) + _BLOCK * len(missing) + twice,
        pruned=surplus(facts.releases, incoming.line, retention, active=incoming.contents.id),
    )
    return dataclasses.replace(plan, problems=tuple(_problems(plan, incoming, look.host, facts)))


def blob_sizes(contents: Contents) -> dict[str, int]:
    """Return the size of every blob that a bundle's volumes carry."""
    return {blob.sha256: blob.size for volume in contents.volumes for blob in volume.blobs}


def _assembled(files: Iterable[FileEntry]) -> int:
    """Return the bytes of files that are put together; a file of one blob is a link to it."""
    return sum(file.size + _BLOCK for file in files if len(file.blobs) != 1)


def _problems(plan: HostPlan, incoming: Incoming, host: RepoHost, facts: HostFacts) -> Iterator[Problem]:
    def problem(what: str, hint: str = "") -> Problem:
        return Problem(where=host.name, what=what, hint=hint)

    if not plan.targets:
        yield problem(f"the bundle has none of its targets: {', '.join(plan.lacking)}", "see targets in site.yaml")
    if not facts.writable:
        yield problem(f"{host.root} cannot be written by its user", "see root, user and owner in site.yaml")
    if facts.holder:
        yield problem(f"another run works there: {facts.holder}", "wait for its end")
    for name in sorted({file.path.partition("/")[0] for file in incoming.contents.files} & set(facts.foreign)):
        yield problem(f"{host.root}/{name} is in the way: bundle-install did not make it", "move it away")
    if host.admit and not facts.trust:
        yield problem("it has no trust document of its own yet", "put one there as its admitting user, see the guide")
    yield from _sequence(plan, incoming, host, facts.seen.get(incoming.line))
    yield from _room(plan, facts, host)


def _sequence(plan: HostPlan, incoming: Incoming, host: RepoHost, seen: Seen | None) -> Iterator[Problem]:
    if seen is None or plan.ready:
        return
    ours, theirs = (incoming.epoch, incoming.contents.sequence), (seen.epoch, seen.sequence)
    if theirs > ours:
        yield Problem(
            where=host.name,
            what=f"it has admitted sequence {seen.sequence} of {incoming.line}, newer than {ours[1]}",
            hint="bundle-install rollback goes back; an older bundle is never applied again",
        )
    elif theirs == ours and seen.digest != incoming.digest:
        yield Problem(
            where=host.name,
            what=f"it has admitted another bundle with sequence {seen.sequence} of {incoming.line}",
            hint="two different bundles must never have one sequence: ask who built them",
        )


def _room(plan: HostPlan, facts: HostFacts, host: RepoHost) -> Iterator[Problem]:
    if not plan.needed:
        return
    if plan.needed + _SPARE > facts.free:
        yield Problem(
            where=host.name,
            what=f"no space in {host.root}: {plan.needed + _SPARE:,} bytes are needed, {facts.free:,} are free",
            hint="bundle-install prune frees some",
        )
    # Blobs, files, directories and one view.
    inodes = 2 * (plan.files + plan.missing) + plan.copied + 100
    if 0 < facts.inodes < inodes:
        yield Problem(
            where=host.name,
            what=f"too few inodes in {host.root}: {inodes:,} are needed, {facts.inodes:,} are free",
            hint="bundle-install prune frees some",
        )
