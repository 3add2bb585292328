"""Real Ansible in an environment of its own, the collection as it is installed, and hosts behind a real sshd."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.bundles import installer, keys
from tests.release.conftest import BIN, built, shared
from tests.sshd import ADDRESS, Sshd

__all__ = ["built", "installer", "keys", "shared"]

COLLECTION = Path(__file__).resolve().parents[2] / "ansible"
_RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=\d+\s+failed=(?P<failed>\d+)", re.MULTILINE
)


@dataclass(frozen=True)
class Played:
    """What a run of a playbook said: changed tasks by host, hosts that failed, and all of its words."""

    status: int
    text: str

    @property
    def changed(self) -> dict[str, int]:
        return {found["host"]: int(found["changed"]) for found in _RECAP.finditer(self.text)}

    @property
    def failed(self) -> list[str]:
        return [found["host"] for found in _RECAP.finditer(self.text) if found["failed"] != "0"]


@dataclass
class Ansible:
    """Ansible with a home and an inventory of its own; every host is ``sshd``."""

    programs: Path
    home: Path
    collections: Path
    sshd: Sshd
    hosts: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def run(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "BUNDLE_"))}
        env |= {
            "PATH": os.pathsep.join([str(self.programs), os.environ["PATH"]]),
            "HOME": str(self.home),
            "ANSIBLE_HOME": str(self.home / "a"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_REMOTE_TMP": str(self.home / "remote"),
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        }
        words = [str(self.programs / program), *map(str, arguments)]
        return subprocess.run(words, env=env, cwd=cwd or self.home, capture_output=True, text=True, check=False)

    def play(self, playbook: str | Path, *options: str, fails: bool = False, **variables: Any) -> Played:
        """Run a playbook: the text of one, the path of one, or the name of one of a collection."""
        if isinstance(playbook, str) and "\n" in playbook:
            path = self.home / "play.yml"
            path.write_text(playbook)
            playbook = path
        inventory = self.home / "inventory.yml"
        inventory.write_text(json.dumps({"all": {"hosts": {name: self._host(name) for name in self.hosts}}}))
        extra = self.home / "variables.json"
        extra.write_text(json.dumps(variables))
        done = self.run("ansible-playbook", "-i", inventory, "-e", f"@{extra}", *options, playbook)
        text = done.stdout + done.stderr
        assert bool(done.returncode) == fails, text
        assert "[WARNING]" not in text, text
        assert "[DEPRECATION" not in text, text
        return Played(status=done.returncode, text=text)

    def _host(self, name: str) -> dict[str, Any]:
        known = f"-o UserKnownHostsFile={self.sshd.known_hosts} -o StrictHostKeyChecking=yes -o ControlPersist=10s"
        return {
            "ansible_host": ADDRESS,
            "ansible_port": self.sshd.port,
            "ansible_user": self.sshd.user,
            "ansible_ssh_private_key_file": str(self.sshd.identity),
            "ansible_ssh_common_args": known,
            "ansible_python_interpreter": sys.executable,
            **self.hosts[name],
        }


def _environment(place: Path, *packages: str) -> Path:
    """Return the programs of an environment with ``packages``, made by the first who asks."""
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "done").exists():
            uv = str(BIN / "uv")
            subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, place], check=True)
            subprocess.run([uv, "pip", "install", "-q", "--python", place, *packages], check=True)
            (place / "done").touch()
    return place / "bin"


@pytest.fixture(scope="session")
def programs(shared: Path) -> Path:
    """Give ansible-core's programs."""
    return _environment(shared / "ansible-core", "ansible-core")


@pytest.fixture(scope="session")
def linter(shared: Path) -> Path:
    """Give ansible-lint's programs."""
    return _environment(shared / "ansible-lint", "ansible-lint")


@pytest.fixture(scope="session")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Give the machine that all hosts are."""
    with Sshd(tmp_path_factory.mktemp("sshd"), options=["Subsystem sftp internal-sftp"]) as server:
        yield server


@pytest.fixture(scope="session")
def short() -> Iterator[Path]:
    """Give a directory with a short path: names of sockets have a limit."""
    with tempfile.TemporaryDirectory(prefix="ans") as path:
        (Path(path) / "remote").mkdir(mode=0o700)
        yield Path(path)


@pytest.fixture(scope="session")
def installed(programs: Path, short: Path, far: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory that the collection was installed into from its archive, without a network."""
    base = tmp_path_factory.mktemp("collection")
    source = base / "source"
    shutil.copytree(COLLECTION, source, ignore=shutil.ignore_patterns(".ansible"))
    ansible = Ansible(programs, short, base / "collections", far)
    for words in (
        ("build", "--output-path", str(base)),
        ("install", "--offline", "-p", str(base / "collections"), "offline-bundle-0.1.0.tar.gz"),
    ):
        done = ansible.run("ansible-galaxy", "collection", *words, cwd=source if words[0] == "build" else base)
        assert done.returncode == 0, done.stdout + done.stderr
    return base / "collections"


@pytest.fixture
def ansible(programs: Path, installed: Path, far: Sshd, short: Path) -> Ansible:
    return Ansible(programs, short, installed, far)


def stamps(*places: Path, without: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
    """Return all that is below directories, with size and time of the last change."""
    found = (path for place in places for path in place.rglob("*") if path.name not in without)
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found if not path.is_dir()}
