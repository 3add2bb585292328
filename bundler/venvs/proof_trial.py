"""One trial of a venv: unpacked from its archive into a throw-away root, everything in it run by the runner."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundler.archive.frames import DECODE_ERRORS, open_frames
from bundler.buildenv.emulation import SLOWDOWN
from bundler.errors import CommandFailed
from bundler.files import chunks, write
from bundler.model.contents import ProofLevel
from bundler.process import Command, run
from bundler.store.cas import Store
from bundler.venvs.isolation import SYSTEM_PATH, Room
from bundler.venvs.proof_checks import Seen, checks_of, unusable
from bundler.venvs.proof_report import ProofReport
from bundler.venvs.proof_request import ProofRequest, ProofSettings, cannot

RUNNER = Path(__file__).with_name("proof_runner.py")
#: Where the throw-away root has the runner and, for a venv without pip, pip's wheel (pip runs from it).
_RUNNER_INSIDE, _PIP_INSIDE = "/proof/runner.py", "/proof/pip.whl"


def trial(request: ProofRequest, settings: ProofSettings, store: Store) -> ProofReport:
    """Unpack the venv, run everything in it and return the bare facts.

    Raises:
        ProofFailed: It cannot be tried at all.
    """
    with store.workdir("proof") as scratch:
        tree = scratch / "venv"
        tree.mkdir()
        _unpack(request, store, tree)
        room = Room(
            tree=tree,
            install_path=request.install_path,
            interpreter=Path(request.target.python.executable),
            scratch=scratch,
            isolation=settings.isolation,
            system=request.root.path,
            tools={_RUNNER_INSIDE: RUNNER, _PIP_INSIDE: _pip(request)},
        )
        answer = _run(request, settings, room)
    level: ProofLevel = "host" if request.root.is_host else "target"
    report = request.report(level=level, python=answer["python"], unisolated=settings.isolation.unisolated)
    seen = Seen(at=room.venv, install_path=request.install_path, smoke=request.smoke, versions=request.versions)
    checks = [check for result in answer["results"] for check in checks_of(result, seen)]
    checks += [check for smoke in request.smoke for check in unusable(smoke)]
    return dataclasses.replace(report, checks=tuple(sorted(checks, key=lambda check: check.key)))


def _run(request: ProofRequest, settings: ProofSettings, room: Room) -> dict[str, Any]:
    asked = {
        "venv": room.venv,
        "workers": max(settings.workers, 1),
        "timeout": settings.timeout * (SLOWDOWN if request.root.emulated else 1),
        "pip": room.tool(_PIP_INSIDE) + "/pip",
        "modules": request.modules,
        "smoke": [
            {"name": str(number), "argv": shlex.split(smoke.run)}
            for number, smoke in enumerate(request.smoke)
            if not unusable(smoke)
        ],
    }
    argv = (f"{room.venv}/bin/python", room.tool(_RUNNER_INSIDE))
    try:
        done = run(room.command(argv, stdin=json.dumps(asked).encode()))
        answer: dict[str, Any] = json.loads(done.stdout.rpartition(b"\n")[2])
    except CommandFailed as error:
        last = error.output.strip().rpartition("\n")[2] or error.message
        raise cannot(request, f"the venv's interpreter does not run: {last}", "look at the venv archive") from error
    except ValueError as error:
        raise cannot(
            request, "its interpreter gave no answer", "look for a .pth file that ends the process"
        ) from error
    if settings.logs:
        _write_log(settings.logs / f"{request.target.name}-{request.venv}.log", answer)
    return answer


def _unpack(request: ProofRequest, store: Store, into: Path) -> None:
    """Unpack the archive with stock tar, as a site may, after its digest was checked."""
    plain = into.with_name("venv.tar")
    env = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
    try:
        digest = _decode(request, store, plain)
        if digest == request.archive:
            run(Command(argv=["tar", "-xf", str(plain), "-C", str(into)], env=env))
            plain.unlink()
    except (*DECODE_ERRORS, CommandFailed) as error:
        raise cannot(request, f"its archive does not unpack: {error}", "run the build again") from error
    if digest != request.archive:
        raise cannot(request, "its blobs are not those of the archive", "run the build again")


def _decode(request: ProofRequest, store: Store, plain: Path) -> str:
    """Write the archive's tar and return the digest of the compressed bytes."""
    digest = hashlib.sha256()
    with plain.open("wb") as sink:
        for blob in request.blobs:
            with store.open(blob) as source:
                for piece in chunks(source):
                    digest.update(piece)
                source.seek(0)
                with open_frames(source) as reader:
                    sink.writelines(chunks(reader))
    return digest.hexdigest()


def _pip(request: ProofRequest) -> Path:
    """Return the wheel of pip that virtualenv carries for the target's Python."""
    from virtualenv.seed.wheels.embed import get_embed_wheel  # noqa: PLC0415  # slow, not wanted when nothing changed

    wheel = get_embed_wheel("pip", request.target.python.version)
    if wheel is None:
        raise cannot(request, "virtualenv carries no pip for its Python", "put pip into the venv")
    return Path(wheel.path)


def _write_log(path: Path, answer: Mapping[str, Any]) -> None:
    lines = [f"python {answer['python']}"]
    for result in sorted(answer["results"], key=lambda one: -one["seconds"]):
        mark = "FAILED" if result["error"] else "ok"
        name = f"{result['package']} {result['group']}:{result['name']}".strip()
        lines.append(f"{mark:6} {result['seconds']:7.2f} s  {name}  {result['error']}".rstrip())
        lines += [f"       | {line}" for line in result["output"].splitlines()]
    write(path, ("\n".join(lines) + "\n").encode())
