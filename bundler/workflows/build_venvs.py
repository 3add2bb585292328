"""From wheels to proved venvs: layers, each venv's own frame, archives, proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.buildenv.interpreter import Interpreter
from bundler.buildenv.systems import SystemRoot, Systems
from bundler.events import Emit
from bundler.model.contents import ProofLevel
from bundler.model.plan import VenvPlan
from bundler.model.target import Python, Target
from bundler.model.wheel import WheelSet
from bundler.store.cas import Store
from bundler.venvs.archive import ArchiveRequest, VenvArchive, make_archives
from bundler.venvs.frame import DOCUMENTS, FrameRequest
from bundler.venvs.layers import Layer
from bundler.venvs.libraries import LibraryRequest, check_libraries
from bundler.venvs.make_layers import LayerRequest, Layers, make_layers
from bundler.venvs.proof import prove_all, settings_for
from bundler.venvs.proof_report import with_checks
from bundler.venvs.proof_request import ProofRequest
from bundler.venvs.system_packages import SystemPackages, find_system_packages
from bundler.workflows.release_files import FinishedVenv, constraints_text


@dataclass(frozen=True, kw_only=True)
class VenvSettings:
    """How venvs are made: how and in which systems they are proved, how many workers, where proofs leave logs."""

    level: ProofLevel
    systems: Systems
    host: Target
    workers: int
    logs: Path


@dataclass(frozen=True, kw_only=True)
class _Archived:
    """A venv whose archive is made."""

    plan: VenvPlan
    wheels: WheelSet
    layers: tuple[Layer, ...]
    root: SystemRoot
    system: SystemPackages
    archive: VenvArchive


def make_venvs(
    plans: Mapping[tuple[str, str], VenvPlan],
    sets: Sequence[WheelSet],
    settings: VenvSettings,
    store: Store,
    emit: Emit,
) -> tuple[FinishedVenv, ...]:
    """Return every venv, proved, in the order of ``sets``; ``plans`` are by venv and target name.

    Raises:
        LibraryMissing: A venv needs libraries that its hosts will not have.
        LayerError: A wheel cannot be made into a layer.
        LayerCollision: Packages of one venv own the same path; all such venvs are reported.
        ProofFailed: Venvs do not work.
    """
    requests = [
        LayerRequest(wheel=wheel, python=plans[one.venv, one.target].target.python)
        for one in sets
        for wheel in one.wheels
    ]
    targets = tuple(dict.fromkeys(plan.target for plan in plans.values()))

    def interpreter(python: Python) -> Interpreter:
        return settings.systems.interpreter(python, targets)

    chosen = [(plans[one.venv, one.target], one) for one in sets]
    roots = [settings.systems.runtime(plan.target, plan.host_packages) for plan, _ in chosen]
    asked = [_library_request(*one, root, settings.systems) for one, root in zip(chosen, roots, strict=True)]
    libraries = check_libraries(asked, store, emit)
    layers = make_layers(store, requests, emit=emit, workers=settings.workers, interpreter=interpreter)
    archived = _archive_all(chosen, roots, layers, store, emit)
    proving = settings_for(store, workers=settings.workers, host=settings.host, logs=settings.logs)
    reports = prove_all([_proof_request(one, settings.level) for one in archived], proving, store, emit)
    return tuple(
        FinishedVenv(
            plan=one.plan,
            wheels=one.wheels,
            archive=one.archive,
            layers={layer.package: tuple(blob.digest for blob in layer.blobs) for layer in one.layers},
            console_scripts=tuple(sorted({name for layer in one.layers for name in layer.source.console_scripts})),
            report=with_checks(report, library.checks),
        )
        for one, report, library in zip(archived, reports, libraries, strict=True)
    )


def _archive_all(
    venvs: Sequence[tuple[VenvPlan, WheelSet]],
    roots: Sequence[SystemRoot],
    layers: Layers,
    store: Store,
    emit: Emit,
) -> list[_Archived]:
    own = [tuple(layers.of(wheel, plan.target.python) for wheel in wheels.wheels) for plan, wheels in venvs]
    system = [
        find_system_packages(plan.system_packages, plan.target.python, root.path)
        for (plan, _), root in zip(venvs, roots, strict=True)
    ]
    requests = [
        ArchiveRequest(frame=_frame(plan, wheels, links), layers=layered, target=plan.target.name)
        for (plan, wheels), layered, links in zip(venvs, own, system, strict=True)
    ]
    archives = make_archives(store, requests, emit=emit)
    return [
        _Archived(plan=plan, wheels=wheels, layers=layered, root=root, system=links, archive=archive)
        for (plan, wheels), layered, root, links, archive in zip(venvs, own, roots, system, archives, strict=True)
    ]


def _library_request(plan: VenvPlan, wheels: WheelSet, root: SystemRoot, systems: Systems) -> LibraryRequest:
    return LibraryRequest(
        venv=plan.name,
        target=plan.target,
        install_path=plan.path,
        wheels=wheels.wheels,
        root=root.path,
        build_root=systems.build_root(plan.target),
        host_packages=root.packages,
        allow=plan.allow,
    )


def _frame(plan: VenvPlan, wheels: WheelSet, system: SystemPackages) -> FrameRequest:
    return FrameRequest(
        name=plan.name,
        python=plan.target.python,
        install_path=plan.path,
        files={f"{DOCUMENTS}/constraints.txt": constraints_text(wheels)},
        links=system.links,
    )


def _proof_request(one: _Archived, level: ProofLevel) -> ProofRequest:
    return ProofRequest(
        venv=one.plan.name,
        target=one.plan.target,
        install_path=one.plan.path,
        archive=one.archive.sha256,
        blobs=tuple(blob.digest for blob in one.archive.blobs),
        versions={wheel.name: wheel.version for wheel in one.wheels.wheels},
        smoke=one.plan.smoke,
        allow=one.plan.allow,
        modules=one.system.modules,
        level=level,
        root=one.root,
    )
