"""The loader here and the real one come to the same end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from bundler.archive.elf import MAGIC, read_elf
from bundler.venvs.layer_tree import SITE
from bundler.venvs.loader import Loader
from bundler.venvs.system_libraries import Binary, SystemLibraries
from tests.libraries.conftest import ARCH

pytestmark = pytest.mark.skipif(shutil.which("ldd") is None, reason="compares with ldd")
#: Programs and libraries of this host with long lists of libraries, where they are installed.
PROGRAMS = ("/usr/bin/git", "/usr/bin/ssh", "/usr/sbin/sshd", "/usr/bin/gpg", "/usr/bin/apt", "/usr/bin/python3")

#: ldd takes its time: every so many modules are enough.
STEP = 16


def by_ldd(path: Path) -> tuple[set[str], set[str]]:
    """Return what ldd finds, by real path, and the names that it does not find."""
    text = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    pairs = [line.split(" => ") for line in text.splitlines() if " => " in line]
    found = {os.path.realpath(goal.split(" (")[0]) for _, goal in pairs if "not found" not in goal}
    return found, {name.strip() for name, goal in pairs if "not found" in goal}


def test_modules_and_programs_load_what_ldd_says() -> None:
    """Compiled files of the environment that runs these tests, and some of the host's own programs."""
    installed = Path(sysconfig.get_path("purelib"))
    venv = installed.parents[2]
    files = sorted(path for path in installed.rglob("*.so*") if path.is_file() and not path.is_symlink())[::STEP]
    others = [Path(program).resolve() for program in PROGRAMS if Path(program).exists()]
    inside: dict[str, Binary] = {}
    for path in [*files, *others]:
        with path.open("rb") as file:
            if file.read(4) == MAGIC:
                file.seek(0)
                name = f"{venv}/{SITE}/{path.relative_to(installed)}" if path in files else str(path)
                inside[name] = Binary(path=name, elf=read_elf(file), wheel="x")
    system = SystemLibraries(Path("/"), ARCH)
    loader = Loader(install_path=str(venv), inside=inside, system=system, allowed=None)

    assert len(inside) > 5
    for name, binary in inside.items():
        done = loader.load(binary)
        real = {os.path.realpath(path.replace(SITE, str(installed.relative_to(venv)))) for path in done.loaded}
        own = os.path.realpath(name.replace(SITE, str(installed.relative_to(venv))))
        ours = {path for path in real if path != own and "/ld-linux" not in path}
        assert (ours, {failure.name for failure in done.failures}) == by_ldd(Path(own)), name
