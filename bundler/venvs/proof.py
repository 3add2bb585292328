"""The proof that a venv works: unpacked from its archive at its own install path, with no network, and tried.

:func:`prove` gathers facts about one venv; :func:`prove_all` proves a release and fails with all that is wrong.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundler.clock import stopwatch
from bundler.errors import Problem, ProofFailed
from bundler.events import Emit, ItemFinished, ItemStarted, StageAdvanced, StageFinished, StageStarted, Warned
from bundler.model.target import Target
from bundler.process import end_children
from bundler.store.cas import Store, key_of
from bundler.venvs.isolation import detect
from bundler.venvs.proof_report import ProofReport, accept, problems_of, unused
from bundler.venvs.proof_request import ProofRequest, ProofSettings, cannot
from bundler.venvs.proof_trial import RUNNER, trial

STAGE = "proof"
#: Raised when facts are gathered or written differently, so that cached reports are not taken.
FORMAT = 2
#: Venvs that are proved at the same time: the next unpacks while one runs.
_ABREAST = 2


def settings_for(
    store: Store, *, workers: int, host: Target | None = None, logs: Path | None = None
) -> ProofSettings:
    """Return settings with the best isolation that this host gives."""
    with store.workdir("isolation") as scratch:
        return ProofSettings(isolation=detect(scratch), workers=workers, host=host, logs=logs)


def prove(request: ProofRequest, settings: ProofSettings, store: Store, emit: Emit) -> ProofReport:
    """Return the facts about one venv, with its ``allow`` applied; an unchanged venv is not tried twice.

    Raises:
        ProofFailed: It cannot be tried at all on this host.
    """
    if request.level == "none":
        return request.report(level="none")
    _check_host(request, settings)
    emit(ItemStarted(stage=STAGE, item=request.item))
    key = _key(request, settings)
    known = store.recall(STAGE, key)
    report = _recalled(known)
    note = "reused"
    if report is None:
        report = trial(request, settings, store)
        note = f"{len(report.checks)} checks"
        if accept(report, request.allow).passed:
            store.remember(STAGE, key, json.loads(report.to_json()))
    emit(ItemFinished(stage=STAGE, item=request.item, note=note))
    return accept(report, request.allow)


def prove_all(
    requests: Sequence[ProofRequest], settings: ProofSettings, store: Store, emit: Emit
) -> tuple[ProofReport, ...]:
    """Prove every venv and return the reports in the order of the requests.

    Raises:
        ProofFailed: One or more venvs do not work; ``problems`` holds all failures of all venvs.
    """
    begun = stopwatch()
    emit(StageStarted(stage=STAGE, total=len(requests)))
    reports: dict[int, ProofReport] = {}
    problems: list[Problem] = []
    # The largest first, so that none is left over at the end.
    order = sorted(range(len(requests)), key=lambda number: -len(requests[number].blobs))
    with concurrent.futures.ThreadPoolExecutor(min(_ABREAST, max(settings.workers, 1))) as pool:
        futures = {pool.submit(prove, requests[number], settings, store, emit): number for number in order}
        try:
            for future in concurrent.futures.as_completed(futures):
                try:
                    reports[futures[future]] = future.result()
                except ProofFailed as error:
                    problems += error.problems
                emit(StageAdvanced(stage=STAGE))
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                end_children()
            raise
    found = tuple(reports[number] for number in sorted(reports))
    _conclude(requests, found, problems, emit)
    emit(StageFinished(stage=STAGE, seconds=stopwatch() - begun, items=len(found)))
    return found


def _conclude(
    requests: Sequence[ProofRequest], reports: Sequence[ProofReport], problems: list[Problem], emit: Emit
) -> None:
    problems += [problem for report in reports if report.level != "none" for problem in problems_of(report)]
    if problems:
        venvs = len({problem.where for problem in problems})
        raise ProofFailed(
            f"{venvs} of {len(requests)} venvs do not work: {len(problems)} failures",
            hint="nothing was written; correct the manifest, or accept a failure in proof.allow with a reason",
            problems=sorted(problems, key=str),
        )
    if any(report.level == "none" for report in reports):
        return
    for rule in unused([rule for request in requests for rule in request.allow], reports):
        emit(
            Warned(
                message=f"proof.allow: {rule.entry_point} covers no failure",
                hint="remove it: a later failure would hide",
            )
        )


def _check_host(request: ProofRequest, settings: ProofSettings) -> None:
    target, host = request.target, settings.host
    if not request.root.is_host:
        if settings.isolation.kind != "root":
            raise cannot(request, "bubblewrap does not work", "apt-get install bubblewrap")
        return
    if host and (target.distro, target.version, target.arch) != (host.distro, host.version, host.arch):
        raise cannot(request, f"this host is {host.name}", f"build on {target.name}, or set proof.level: none")
    if not Path(target.python.executable).exists():
        raise cannot(
            request, f"{target.python.executable} is not installed", f"install Python {target.python.version}"
        )


def _key(request: ProofRequest, settings: ProofSettings) -> str:
    return key_of(
        FORMAT,
        hashlib.sha256(RUNNER.read_bytes()).hexdigest(),
        request.archive,
        request.venv,
        request.target.name,
        request.target.python.full_version,
        request.install_path,
        [(smoke.run, smoke.expect) for smoke in request.smoke],
        request.modules,
        settings.isolation.unisolated,
        request.root.identity,
    )


def _recalled(known: Any) -> ProofReport | None:
    try:
        return ProofReport.from_data(known)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
