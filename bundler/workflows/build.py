"""Build a bundle: lock, fetch, compile, lay out, prove, pack, sign, verify.

Every step finds in the store what was made from the same inputs before; a run that was stopped anywhere is simply
started again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundler.buildenv.host_target import host_target
from bundler.buildenv.systems import Systems
from bundler.bundle.layout import NAMESPACE
from bundler.bundle.writer import BundlePlan, write_bundle
from bundler.clock import stopwatch
from bundler.errors import PolicyRefused
from bundler.events import Emit, Noted, StageFinished, StageStarted, Warned, ignore
from bundler.files import recover_directory, sweep
from bundler.model.contents import SEEDS, Contents, FileEntry, LinkEntry
from bundler.model.index import IndexConfig
from bundler.model.lock import Artifact, Lock
from bundler.model.plan import VenvPlan
from bundler.model.target import Target
from bundler.model.wheel import WheelSet
from bundler.resolve.drivers import choose_resolver
from bundler.signing.development import config_directory, development_key
from bundler.sources.fetch import fetch_all
from bundler.sources.indexes import index_config
from bundler.sources.metadata import check_metadata
from bundler.store.cas import Store
from bundler.version import own_version
from bundler.wheels.provide import Provider, provide_wheels
from bundler.workflows.build_venvs import VenvSettings, make_venvs
from bundler.workflows.evidence import EvidenceRequest, make_evidence
from bundler.workflows.installer import build_installer
from bundler.workflows.lock import LockRequest, LockResult, lock
from bundler.workflows.lock_services import LockServices, lock_services
from bundler.workflows.page_file import with_page
from bundler.workflows.preflight import check_host, warn_of_host
from bundler.workflows.release_files import (
    FinishedVenv,
    file_entries,
    seed_entries,
    target_entry,
    wheel_entries,
    without_repeats,
)
from bundler.workflows.release_index import index_entries
from bundler.workflows.role_files import RolePlan, plan_role_files, release_root, role_entries
from bundler.workflows.sign import SignRequest, sign
from bundler.workflows.systems import systems_of
from bundler.workflows.trust import export_development_trust
from bundler.workflows.unchanged import build_key, is_unchanged, remember_bundle
from bundler.workflows.verify import VerifyRequest, verify


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Who signs, with what key; ``allowed_signers`` where it is known, for the check afterwards."""

    name: str
    key: Path
    allowed_signers: Path | None = None


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What to build, and where to. ``volume_size`` is in bytes; without ``signers`` the bundle stays unsigned."""

    lock: LockRequest
    out: Path
    volume_size: int | None = None
    signers: tuple[Signer, ...] = ()
    development: bool = False
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    @property
    def store(self) -> Store:
        """Return the store of this run."""
        return self.lock.store


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """The bundle's directory; ``unchanged`` where it was there already; who signed it.

    ``trust``: digest of the trust document that was put beside it for the development key.
    """

    bundle: Path
    locked: LockResult
    signers: tuple[Signer, ...]
    unchanged: bool
    trust: str = ""


def build(request: BuildRequest, emit: Emit = ignore) -> BuildResult:
    """Make the bundle of a manifest.

    Raises:
        BundlerError: Whatever went wrong, with the exit code of its subsystem; no bundle is written then.
    """
    # 1. Lock, or use the lock that is there.
    locked = lock(request.lock, emit)
    _check_policy(locked)
    signers = _signers(request, emit)
    bundle = request.out / f"{locked.lock.name}-{locked.lock.version}-{locked.lock.sequence}"
    key = build_key(locked.lock_dir, locked.loaded.digest, request.volume_size)
    # What a killed run left: the old bundle moved aside, files half written beside it and in it.
    recover_directory(bundle)
    sweep(bundle)
    # 2. The same inputs gave this very bundle before: nothing to do.
    unchanged = is_unchanged(request.store, key, bundle)
    if unchanged:
        emit(Noted(message=f"{bundle}: nothing changed"))
        _sign_missing(bundle, signers, emit)
    else:
        # 3. Wheels, layers, venvs, proof; then the bundle, signed before it gets its name.
        _make(request, locked, bundle, signers, emit)
        remember_bundle(request.store, key, bundle)
    # 4. The far side's own check.
    _verify(bundle, signers, unchanged=unchanged, emit=emit)
    trust = _trust(request, emit)
    return BuildResult(bundle=bundle, locked=locked, signers=signers, unchanged=unchanged, trust=trust)


def _check_policy(locked: LockResult) -> None:
    proof = locked.loaded.manifest.proof
    if proof.level == "none" and not proof.allow_unproved:
        raise PolicyRefused(
            "proof.level is none: the bundle could not be signed",
            hint="set proof.level to host, or proof.allow_unproved to true; the bundle then says so",
        )


def _signers(request: BuildRequest, emit: Emit) -> tuple[Signer, ...]:
    if not request.development:
        return request.signers
    made = development_key(config_directory(), NAMESPACE, emit)
    own = Signer(name=made.signer, key=made.key, allowed_signers=made.allowed_signers)
    return (*request.signers, own)


def _trust(request: BuildRequest, emit: Emit) -> str:
    """Put the trust document of the development key beside the bundle; return its digest."""
    if not request.development:
        return ""
    return export_development_trust(development_key(config_directory(), NAMESPACE, emit), request.out, emit)


def _make(request: BuildRequest, locked: LockResult, bundle: Path, signers: tuple[Signer, ...], emit: Emit) -> None:
    plans = {(plan.name, plan.target.name): plan for plan in locked.plans}
    whole = locked.loaded.manifest.closure == "all"
    role = plan_role_files(locked.loaded, locked.lock, locked.plans)
    systems = systems_of(locked.loaded, locked.plans, request.store, emit, refresh=request.lock.refresh)
    _preflight(locked, systems, emit, whole=whole)
    with _services(locked, request.store, emit, systems) as services:
        sets = _wheels(services, locked, plans, request.workers, emit)
        installer = build_installer(request.store, _own_indexes(locked), emit)
    carried, seeds = _split(sets)
    venvs = _venvs(request, locked, plans, carried, systems, emit) if whole else ()
    files, links = _release(request, locked, role, venvs, sets)
    told = EvidenceRequest(
        lock=locked.lock,
        lock_dir=locked.lock_dir,
        venvs=venvs,
        seeds=seeds,
        pythons={plan.target.name: plan.target.python.full_version for plan in locked.plans},
        files=files,
    )
    evidence = make_evidence(told, request.store, emit)
    plan = _plan(locked, files, venvs, request)
    plan = replace(plan, links=links, seeds=seed_entries(seeds), openstack_ansible=(role.entry,))
    plan = replace(plan, installer=request.store.checked(installer.digest), evidence=evidence)
    plan = with_page(plan, release_root(locked.loaded.manifest, locked.lock), request.store)

    def finish(directory: Path) -> None:
        _sign_missing(directory, signers, emit)

    _warn_of_leaks(venvs, emit)
    write_bundle(plan, request.store.open, bundle, emit, finish)


def _split(sets: Iterable[WheelSet]) -> tuple[tuple[WheelSet, ...], tuple[WheelSet, ...]]:
    """Return the wheels of venvs, and those of seed packages."""
    found = tuple(sets)
    return tuple(one for one in found if one.venv != SEEDS), tuple(one for one in found if one.venv == SEEDS)


def _release(
    request: BuildRequest,
    locked: LockResult,
    role: RolePlan,
    venvs: tuple[FinishedVenv, ...],
    sets: tuple[WheelSet, ...],
) -> tuple[tuple[FileEntry, ...], tuple[LinkEntry, ...]]:
    """Return every file and link of a repo host."""
    store, root = request.store, release_root(locked.loaded.manifest, locked.lock)
    indexes, links = index_entries(sets, root, store)
    roles, more = role_entries(role, _split(sets)[0], locked.lock, root, store)
    files = (*wheel_entries(sets, root), *file_entries(venvs, root, store), *indexes, *roles)
    return without_repeats(files), (*links, *more)


def _preflight(locked: LockResult, systems: Systems, emit: Emit, *, whole: bool) -> None:
    """Find out what this host cannot do before anything long is begun; then make the systems that are needed."""
    compiled = _compiled(locked)
    check_host(locked.plans, compiled, host_target(), systems, whole=whole)
    warn_of_host([plan for plan in locked.plans if systems.driver(plan.target) == "host"], compiled, emit)
    runs = [(plan.target, plan.host_packages) for plan in locked.plans if whole]
    building = {target for _, target in compiled}
    systems.prepare([plan.target for plan in locked.plans if plan.target.name in building], runs)


def _compiled(locked: LockResult) -> set[tuple[str, str]]:
    """Return the venvs, by name and target, that have something to compile."""
    carried = _part(locked.lock, locked.loaded.manifest.closure)
    return {(venv.venv, venv.target) for venv in carried.venvs if any(one.must_build for one in venv.packages)}


def _own_indexes(locked: LockResult) -> IndexConfig:
    """Return where the installer's dependencies come from: this host's own configuration, as for our own ones.

    A manifest's indexes may hold nothing but the packages of its release.
    """
    neutral = locked.loaded.manifest.model_copy(update={"indexes": (), "wheel_folders": ()})
    return index_config(neutral, locked.loaded.root, ignore)


@contextmanager
def _services(locked: LockResult, store: Store, emit: Emit, systems: Systems) -> Iterator[LockServices]:
    resolver = choose_resolver(locked.loaded.manifest.resolver)
    with lock_services(locked.loaded, resolver, store, emit, systems) as services:
        yield services


def _wheels(
    services: LockServices, locked: LockResult, plans: dict[tuple[str, str], VenvPlan], workers: int, emit: Emit
) -> tuple[WheelSet, ...]:
    manifest, store = services.loaded.manifest, services.store
    targets = {plan.target.name: plan.target for plan in plans.values()}
    compiled = {target for _, target in _compiled(locked)}
    environments = {name: services.environment(target) for name, target in targets.items() if name in compiled}

    def fetch(artifacts: Sequence[Artifact]) -> object:
        fresh = [artifact for artifact in artifacts if not store.has(artifact.sha256)]
        found = fetch_all(artifacts, store, services.client, emit)
        # What was locked by METADATA read in part must be what the whole wheel says.
        for artifact in fresh:
            if artifact.name.endswith(".whl"):
                check_metadata(artifact, store)
        return found

    provider = Provider(
        store=store,
        sources=services.sources,
        targets=targets,
        environments=environments,
        settings=manifest.build,
        fetch=fetch,
        fetch_git=services.git.fetch_all,
        emit=emit,
        slots=workers,
    )
    return provide_wheels(_part(locked.lock, manifest.closure), provider)


def _part(whole: Lock, closure: str) -> Lock:
    """Return the lock of what is carried: all of it, or git and path sources only; and always the seed packages."""
    kept = whole.venvs
    if closure != "all":
        kept = tuple(
            replace(venv, packages=tuple(one for one in venv.packages if one.kind in ("git", "directory")))
            for venv in kept
        )
    return replace(whole, venvs=(*kept, *whole.seeds))


def _venvs(
    request: BuildRequest,
    locked: LockResult,
    plans: dict[tuple[str, str], VenvPlan],
    sets: tuple[WheelSet, ...],
    systems: Systems,
    emit: Emit,
) -> tuple[FinishedVenv, ...]:
    settings = VenvSettings(
        level=locked.loaded.manifest.proof.level,
        systems=systems,
        host=host_target(),
        workers=request.workers,
        logs=request.store.root / "logs" / "proof",
    )
    return make_venvs(plans, sets, settings, request.store, emit)


def _plan(
    locked: LockResult, files: tuple[FileEntry, ...], venvs: tuple[FinishedVenv, ...], request: BuildRequest
) -> BundlePlan:
    found, manifest = locked.lock, locked.loaded.manifest
    blobs = {digest for entry in files for digest in entry.blobs}
    packed = {blob.digest for venv in venvs for blob in venv.archive.blobs}
    packed |= {entry.sha256 for entry in files if entry.path.endswith(".whl")}
    targets: dict[str, Target] = {plan.target.name: plan.target for plan in locked.plans}
    return BundlePlan(
        name=found.name,
        version=found.version,
        sequence=found.sequence,
        floor=manifest.release.floor,
        created=found.created,
        tool=f"bundle-build {own_version()}",
        targets=tuple(target_entry(target) for target in targets.values()),
        files=files,
        venvs=tuple(
            venv.entry(release_root(manifest, found), unproved_allowed=manifest.proof.allow_unproved)
            for venv in venvs
        ),
        blob_sizes={digest: request.store.size(digest) for digest in blobs},
        compressed=frozenset(packed),
        installer=Path(),
        volume_size=request.volume_size,
    )


def _sign_missing(bundle: Path, signers: tuple[Signer, ...], emit: Emit) -> None:
    missing = [signer for signer in signers if not (bundle / f"SHA256SUMS.{signer.name}.sig").is_file()]
    if not missing:
        return
    began = stopwatch()
    emit(StageStarted(stage="sign", total=len(missing)))
    for signer in missing:
        sign(SignRequest(bundle=bundle, key=signer.key, signer=signer.name), emit)
    emit(StageFinished(stage="sign", seconds=stopwatch() - began, items=len(missing)))


def _verify(bundle: Path, signers: tuple[Signer, ...], *, unchanged: bool, emit: Emit) -> Contents | None:
    known = [signer for signer in signers if signer.allowed_signers is not None]
    if unchanged or not known or known[0].allowed_signers is None:
        return None
    return verify(VerifyRequest(bundle=bundle, allowed_signers=known[0].allowed_signers), emit).contents


def _warn_of_leaks(venvs: tuple[FinishedVenv, ...], emit: Emit) -> None:
    leaks = sorted({leak for venv in venvs for leak in venv.report.unisolated})
    if leaks:
        emit(
            Warned(
                message=f"the proof was not isolated from this host: {', '.join(leaks)}; the bundle says so",
                hint="apt-get install bubblewrap, and allow unprivileged user namespaces",
            )
        )
