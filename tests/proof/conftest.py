"""Small venvs with odd packages, as archives in a store."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import zstandard

from bundler.model.manifest import AllowedFailure, Smoke
from bundler.model.target import Python, Target, make_target
from bundler.process import Command, run
from bundler.store.cas import Store
from bundler.venvs.isolation import NONE, ROOT, Isolation
from bundler.venvs.proof_request import ProofRequest, ProofSettings

INTERPRETER = "/usr/bin/python3"
SCRIPT = """#!/bin/sh
'''exec' "$(dirname "$0")/python" "$0" "$@"
' '''
import sys
from {module} import {function}
sys.exit({function}())
"""
#: A package that works, with a console script.
GOOD = "def main():\n    print('good 1.0 at work')\n"


@dataclass(frozen=True, kw_only=True)
class Toy:
    """An installed distribution: one module of its name, entry points per group, requirements."""

    name: str
    code: str = GOOD
    scripts: tuple[str, ...] = ("main",)
    others: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    version: str = "1.0"

    def files(self) -> dict[str, str]:
        """Return what it installs, by path below the venv."""
        site, info = "lib/py/site-packages", f"lib/py/site-packages/{self.name}-{self.version}.dist-info"
        lines = [f"[{group}]\n{self.name}-other = {value}\n" for group, value in self.others.items()]
        lines += ["[console_scripts]\n"] if self.scripts else []
        lines += [f"{self.name}-{name} = {self.name}:{name}\n" for name in self.scripts]
        metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        found = {
            f"{site}/{self.name}.py": self.code,
            f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {one}\n" for one in self.requires),
            f"{info}/entry_points.txt": "".join(lines),
            f"{info}/RECORD": "",
            f"{info}/INSTALLER": "pip\n",
        }
        for name in self.scripts:
            found[f"bin/{self.name}-{name}"] = SCRIPT.format(module=self.name, function=name)
        return found


def archive(files: Mapping[str, str], python: Python) -> bytes:
    """Return a venv archive that holds ``files``."""
    links = {
        "bin/python": python.executable,
        f"lib/python{python.version}": "py",
        "lib64": "lib",
    }
    settings = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python.full_version}\n"
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in sorted({"pyvenv.cfg": settings, **files}.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content.encode()), 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(info, io.BytesIO(content.encode()))
        for name, goal in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, goal
            tar.addfile(info)
    return zstandard.compress(sink.getvalue())


@dataclass(kw_only=True)
class Workshop:
    """Makes proof requests of toys."""

    store: Store
    target: Target

    @staticmethod
    def toy(name: str, code: str = GOOD, **more: Any) -> Toy:
        return Toy(name=name, code=code, **more)

    def request(
        self,
        *toys: Toy,
        venv: str = "toys",
        smoke: tuple[Smoke, ...] = (),
        allow: tuple[AllowedFailure, ...] = (),
        files: Mapping[str, str] | None = None,
        install_path: str = "/openstack/venvs/toys-1",
    ) -> ProofRequest:
        content = {path: text for toy in toys for path, text in toy.files().items()} | dict(files or {})
        data = archive(content, self.target.python)
        return ProofRequest(
            venv=venv,
            target=self.target,
            install_path=install_path,
            archive=hashlib.sha256(data).hexdigest(),
            blobs=(self.store.put(data).digest,),
            versions={toy.name: toy.version for toy in toys},
            smoke=smoke,
            allow=allow,
        )


@pytest.fixture(scope="session")
def host() -> Target:
    """This host's target, as far as proofs care."""
    code = "import platform; print(platform.python_version())"
    full = run(Command(argv=[INTERPRETER, "-c", code])).text.strip()
    return make_target("debian", "12", "x86_64", Python(full_version=full, executable=INTERPRETER), (2, 36))


@pytest.fixture
def workshop(tmp_path: Path, host: Target) -> Workshop:
    return Workshop(store=Store(tmp_path / "store"), target=host)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., ProofSettings]:
    """Return settings for a proof without a throw-away root, or with what is named."""

    def make(isolation: Isolation = NONE, timeout: float = 20, host: Target | None = None) -> ProofSettings:
        return ProofSettings(isolation=isolation, workers=2, timeout=timeout, host=host, logs=tmp_path / "logs")

    return make


@pytest.fixture
def in_root(settings: Callable[..., ProofSettings]) -> ProofSettings:
    """Return settings for a proof in a throw-away root; the test needs the mark ``isolation``."""
    return settings(ROOT)
