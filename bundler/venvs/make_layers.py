"""Make all missing layers of a build, in parallel: threads, because hashing, packing and compiling leave Python."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from bundler.buildenv.interpreter import Interpreter
from bundler.clock import stopwatch
from bundler.errors import BundlerError, LayerError, Problem
from bundler.events import Emit, ItemFinished, ItemStarted, StageAdvanced, StageFinished, StageStarted, ignore
from bundler.model.target import Python
from bundler.model.wheel import Wheel
from bundler.store.cas import Store
from bundler.venvs.layers import Layer, make_layer, recall_layer

STAGE = "layers"


@dataclass(frozen=True, kw_only=True)
class LayerRequest:
    """A wheel and the Python its bytecode is for; None leaves compiling to the site."""

    wheel: Wheel
    python: Python | None


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The layers of a build."""

    _layers: dict[LayerRequest, Layer] = field(repr=False)

    def of(self, wheel: Wheel, python: Python | None) -> Layer:
        """Return the layer of ``wheel`` for ``python``; KeyError where it was not asked for."""
        return self._layers[LayerRequest(wheel=wheel, python=python)]

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers.values())


def own_interpreter(python: Python) -> Interpreter:
    """Return this host's own."""
    return Interpreter(python=python)


def make_layers(
    store: Store,
    requests: Iterable[LayerRequest],
    *,
    emit: Emit = ignore,
    workers: int | None = None,
    interpreter: Callable[[Python], Interpreter] = own_interpreter,
) -> Layers:
    """Return the layer of every request; what the store has already costs nothing.

    ``interpreter`` finds what compiles for a Python; it is asked once for each, and only where something is missing.

    Raises:
        LayerError: Wheels cannot be made into layers; all of them are listed.
    """
    began = stopwatch()
    wanted = list(dict.fromkeys(requests))
    emit(StageStarted(stage=STAGE, total=len(wanted)))
    found = {request: layer for request in wanted if (layer := recall_layer(store, request.wheel, request.python))}
    for request in found:
        emit(ItemFinished(stage=STAGE, item=request.wheel.filename, note="reused"))
    emit(StageAdvanced(stage=STAGE, amount=len(found)))
    missing = [request for request in wanted if request not in found]
    if missing:
        pythons = dict.fromkeys(request.python for request in missing if request.python)
        found_for = {python: interpreter(python) for python in pythons}
        _Run(store, emit, workers or os.cpu_count() or 1, found_for).make(missing)
    layers = {request: found.get(request) or _made(store, request) for request in wanted}
    size = sum(blob.size for blob in {blob for layer in layers.values() for blob in layer.blobs})
    seconds = stopwatch() - began
    emit(StageFinished(stage=STAGE, seconds=seconds, items=len(wanted), reused=len(found), size=size))
    return Layers(_layers=layers)


def _made(store: Store, request: LayerRequest) -> Layer:
    layer = recall_layer(store, request.wheel, request.python)
    if layer is None:
        raise LayerError(f"the layer of {request.wheel.filename} vanished from the store {store.root}")
    return Layer(source=layer.source, bytecode=layer.bytecode)


class _Run:
    """One pass over the wheels that lack a layer."""

    def __init__(self, store: Store, emit: Emit, workers: int, interpreters: Mapping[Python, Interpreter]) -> None:
        self._store = store
        self._emit = emit
        self._workers = workers
        self._interpreters = interpreters
        self._lock = threading.Lock()

    def make(self, missing: list[LayerRequest]) -> None:
        """Make the layers of ``missing``, biggest wheel first, so that none is left for last."""
        groups: dict[Wheel, list[Python]] = {}
        for request in sorted(missing, key=lambda request: (-request.wheel.size, request.wheel.filename)):
            groups.setdefault(request.wheel, []).extend([request.python] if request.python else [])
        with ThreadPoolExecutor(self._workers) as compilers, ThreadPoolExecutor(self._workers) as makers:
            futures = {
                makers.submit(self._one, wheel, pythons, compilers): wheel for wheel, pythons in groups.items()
            }
            try:
                self._collect(futures)
            except BaseException:
                makers.shutdown(wait=False, cancel_futures=True)
                compilers.shutdown(wait=False, cancel_futures=True)
                raise

    def _one(self, wheel: Wheel, pythons: list[Python], compilers: Executor) -> int:
        with self._lock:
            self._emit(ItemStarted(stage=STAGE, item=wheel.filename))
        make_layer(self._store, wheel, [self._interpreters[python] for python in pythons], compilers)
        return max(1, len(pythons))

    def _collect(self, futures: dict[Future[int], Wheel]) -> None:
        """Wait for all; then raise what went wrong, all of it."""
        failures: dict[str, BundlerError] = {}
        for future in as_completed(futures):
            wheel = futures[future]
            error = future.exception()
            if error is None:
                with self._lock:
                    self._emit(ItemFinished(stage=STAGE, item=wheel.filename))
                    self._emit(StageAdvanced(stage=STAGE, amount=future.result()))
            elif isinstance(error, BundlerError):
                failures[wheel.filename] = error
            else:
                raise error
        if len(failures) == 1:
            raise next(iter(failures.values()))
        if failures:
            raise LayerError(f"{len(failures)} wheels cannot be made into layers", problems=_problems(failures))


def _problems(failures: dict[str, BundlerError]) -> list[Problem]:
    """Return one problem for each cause: an interpreter that is missing fails every wheel alike."""
    causes: dict[str, Problem] = {}
    for filename, error in sorted(failures.items()):
        problems = error.problems or (Problem(where=filename, what=error.message, hint=error.hint),)
        causes.update({problem.what: problem for problem in problems if problem.what not in causes})
    return list(causes.values())
