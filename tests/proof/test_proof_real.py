"""Proof of a real service."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from bundler.events import ignore
from bundler.model.manifest import Smoke
from bundler.venvs.proof import prove
from bundler.venvs.proof_request import ProofRequest, ProofSettings

if TYPE_CHECKING:
    from tests.proof.conftest import Workshop


def install(venv: Path, *packages: str) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for words in (["venv", "-q", "--python", "/usr/bin/python3", str(venv)], ["pip", "install", "-q", *packages]):
        subprocess.run(["uv", *words], check=True, env={**environment, "VIRTUAL_ENV": str(venv)})


@pytest.mark.network
@pytest.mark.isolation
@pytest.mark.slow
def test_a_service_loads_in_the_throw_away_root(workshop: Workshop, in_root: ProofSettings, tmp_path: Path) -> None:
    """All scripts of keystone load at its install path; optional drivers that do not are reported only."""
    install(tmp_path / "venv", "keystone", "setuptools<82")
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        tar.add(tmp_path / "venv", arcname=".")
    data = zstandard.compress(sink.getvalue(), 1)
    (version,) = (tmp_path / "venv").glob("lib/python3*/site-packages/keystone-*.dist-info")
    code = 'from importlib.metadata import version; print(version("keystone"))'
    request = ProofRequest(
        venv="keystone",
        target=workshop.target,
        install_path="/openstack/venvs/keystone-29",
        archive=hashlib.sha256(data).hexdigest(),
        blobs=(workshop.store.put(data).digest,),
        versions={"keystone": version.name.split("-")[1].removesuffix(".dist")},
        smoke=(Smoke(run=f"python -c '{code}'", expect="^{version[keystone]}$"),),
    )

    report = prove(request, in_root, workshop.store, ignore)

    assert report.passed, report.failures
    assert report.entry.checks > 20
    assert any(check.kind == "entry-point" and check.missing == "ldap" for check in report.checks)
