"""What is to be proved and how, and why it may be impossible here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundler.buildenv.systems import SystemRoot
from bundler.errors import Problem, ProofFailed
from bundler.model.contents import ProofLevel
from bundler.model.manifest import AllowedFailure, Smoke
from bundler.model.target import Target
from bundler.venvs.isolation import Isolation
from bundler.venvs.proof_report import ProofReport


@dataclass(frozen=True, kw_only=True)
class ProofRequest:
    """A venv archive to be proved. ``blobs`` make up the archive, whose SHA-256 is ``archive``.

    ``versions`` are those of the venv's packages, for smoke commands; ``modules`` the top-level names that system
    packages bring; ``root`` is the system that it is tried in.
    """

    venv: str
    target: Target
    install_path: str
    archive: str
    blobs: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    smoke: tuple[Smoke, ...] = ()
    allow: tuple[AllowedFailure, ...] = ()
    modules: tuple[str, ...] = ()
    level: ProofLevel = "host"
    root: SystemRoot = field(default_factory=SystemRoot)

    @property
    def item(self) -> str:
        """Return what events call it."""
        return f"{self.venv} ({self.target.name})"

    def report(self, *, level: ProofLevel, python: str = "", unisolated: tuple[str, ...] = ()) -> ProofReport:
        """Return the report of this venv before anything was checked."""
        return ProofReport(
            venv=self.venv,
            target=self.target.name,
            level=level,
            python=python,
            install_path=self.install_path,
            archive=self.archive,
            unisolated=unisolated,
        )


@dataclass(frozen=True, kw_only=True)
class ProofSettings:
    """How to prove. ``host`` is this host's target: no other can be proved here (None: not checked).

    ``timeout`` is for each entry point or command, in seconds; ``logs`` a directory for raw output and timings.
    """

    isolation: Isolation
    workers: int = 1
    timeout: float = 120
    host: Target | None = None
    logs: Path | None = None


def cannot(request: ProofRequest, why: str, hint: str) -> ProofFailed:
    """Return the error that a venv cannot be tried at all."""
    problem = Problem(
        where=f"{request.venv} on {request.target.name}", what=f"cannot be proved here: {why}", hint=hint
    )
    return ProofFailed(str(problem), hint=hint, problems=[problem])
