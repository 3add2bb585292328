"""What a venv archive is for: unpacked by stock tar, it works like a venv that pip made."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.model.target import Python

if TYPE_CHECKING:
    from tests.venvs.conftest import Bench, OddWheel

pytestmark = pytest.mark.slow
Call = Callable[..., str]
UV = Path(sys.executable).with_name("uv")


@pytest.fixture
def venv(bench: Bench, odd: type[OddWheel], pip_wheel: Path, tmp_path: Path) -> Path:
    """Return an unpacked venv with pip and packages of all kinds, at a place that no one foresaw."""
    pkg_resources = "__import__('pkg_resources').declare_namespace(__name__)\n"
    pkgutil = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    wheels = [
        odd(
            name="alpha",
            files={
                "alpha/__init__.py": "import sys\ndef main():\n    print('alpha', sys.argv[1:], sys.prefix)\n",
                "alpha/boom.py": "def go():\n    raise RuntimeError('boom')\n",
                "alpha/größe.py": "WIDTH = 7\n",
                "alpha-1.0.data/scripts/alpha-data": b"#!python\nimport alpha; alpha.main()\n",
                "alpha-1.0.data/scripts/alpha-doc": b'#!python\n"""Alpha."""\nprint(__doc__)\n',
                "alpha-1.0.data/data/etc/alpha/alpha.conf": "x\n",
                "alpha-1.0.data/headers/alpha.h": "int alpha;\n",
                "alpha-1.0.data/data/lib/python3.7/site-packages/alpha_late.py": "LATE = 1\n",
            },
            entry_points="[console_scripts]\nalpha = alpha:main\n[gui_scripts]\nalpha-gui = alpha:main\n",
            requires=["beta"],
        ),
        odd(
            name="beta", files={"ns_util/__init__.py": pkgutil, "ns_util/beta.py": "B = 1\n", "ns/beta.py": "B = 1\n"}
        ),
        odd(name="gamma", files={"ns_util/__init__.py": pkgutil, "ns_util/gamma.py": "G = 1\n", "ns/gamma.py": ""}),
        odd(name="old", files={"ns_old/__init__.py": pkg_resources, "ns_old/old.py": "O = 1\n"}),
        odd(name="hook", files={"hook.pth": "import hook; hook.STARTED = True\n", "hook.py": "STARTED = False\n"}),
        odd(
            name="broken",
            files={"broken/__init__.py": "", "broken/py2.py": "print 'x'\n", "broken/tpl.py": "{% x %}\n"},
        ),
    ]
    return bench.unpacked(tmp_path / "some where" / "venv", *wheels, bench.stored(pip_wheel))


def _pyc(venv: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in venv.rglob("*.pyc")}


def test_pip_finds_nothing_wrong(venv: Path, call: Call) -> None:
    """Pip check is clean, and pip list shows every package with its version."""
    assert call(venv / "bin/python", "-m", "pip", "check") == "No broken requirements found.\n"
    listed = call(venv / "bin/pip", "list", "--format=freeze").split()
    assert {"alpha==1.0", "beta==1.0", "gamma==1.0", "hook==1.0", "old==1.0"} <= set(listed)


def test_scripts_run(venv: Path, tmp_path: Path, call: Call) -> None:
    """Console, GUI and data scripts run from their place, through a link and from PATH."""
    (tmp_path / "link").symlink_to(venv / "bin/alpha")

    for command in (venv / "bin/alpha", venv / "bin/alpha-gui", venv / "bin/alpha-data", tmp_path / "link"):
        assert call(command, "a b") == f"alpha ['a b'] {venv}\n"
    assert call("alpha", "x", PATH=f"{venv}/bin:/usr/bin:/bin") == f"alpha ['x'] {venv}\n"
    assert call(venv / "bin/alpha-doc") == "Alpha.\n"


def test_packages_are_imported_from_where_they_lie(venv: Path, python: Python, call: Call) -> None:
    """Namespace packages of all three kinds, .pth files, odd names and stray data modules work."""
    code = (
        "import ns.beta, ns.gamma, ns_util.beta, ns_util.gamma, hook, alpha_late, importlib, alpha\n"
        "print(hook.STARTED, ns_util.gamma.G, importlib.import_module('alpha.größe').WIDTH, alpha.__file__)"
    )
    place = venv / f"lib/python{python.version}/site-packages/alpha/__init__.py"

    assert call(venv / "bin/python", "-c", code) == f"True 1 7 {place}\n"


def test_importing_uses_the_bytecode_and_writes_none(venv: Path, call: Call) -> None:
    """No .pyc appears or changes, and the one that is there is what is loaded."""
    before = _pyc(venv)
    code = "import alpha, alpha.boom, ns.beta, ns_util.beta, hook, pip._internal.cli.main"
    verbose = call(venv / "bin/python", "-v", "-c", code)
    after = _pyc(venv)

    assert after == before
    assert "boom.cpython" in verbose
    assert f"code object from {str(venv / 'lib')!r}" not in verbose
    assert f"matches {venv}/lib" in verbose


def test_a_changed_source_is_not_hidden_by_its_bytecode(venv: Path, call: Call) -> None:
    """A hot fix counts, even with the old time stamp: bytecode is checked by content."""
    source = venv / "lib/py/site-packages/alpha/boom.py"
    when = source.stat()
    source.write_text("def go():\n    raise RuntimeError('fixd')\n")
    os.utime(source, ns=(when.st_atime_ns, when.st_mtime_ns))

    assert "fixd" in call(venv / "bin/python", "-c", "import alpha.boom; alpha.boom.go()", check=False)


def test_tracebacks_show_the_real_path(venv: Path, python: Python, call: Call) -> None:
    """A traceback names the file where it lies now, with its line."""
    out = call(venv / "bin/python", "-c", "import alpha.boom; alpha.boom.go()", check=False)

    assert f'File "{venv}/lib/python{python.version}/site-packages/alpha/boom.py", line 2, in go' in out
    assert "raise RuntimeError('boom')" in out


def test_moving_the_directory_breaks_nothing(venv: Path, tmp_path: Path, call: Call) -> None:
    """A venv works at any place, and says so."""
    moved = tmp_path / "moved"
    shutil.move(venv, moved)

    assert call(moved / "bin/alpha") == f"alpha [] {moved}\n"
    assert call(moved / "bin/python", "-m", "pip", "check") == "No broken requirements found.\n"
    out = call(moved / "bin/python", "-c", "import alpha.boom; alpha.boom.go()", check=False)
    assert f'File "{moved}/lib' in out


def test_no_file_names_the_build(venv: Path, bench: Bench) -> None:
    """Nothing of the store or the directory of the build is in any file."""
    trace = os.fsencode(bench.folder.parent)

    assert [path for path in venv.rglob("*") if path.is_file() and trace in path.read_bytes()] == []


def test_record_is_what_is_there(venv: Path, python: Python) -> None:
    """Every path of every RECORD exists from the place where pip looks, and every file has an owner."""
    site = venv / f"lib/python{python.version}/site-packages"
    listed = {
        Path(os.path.normpath(site / row[0])).resolve()
        for record in site.glob("*.dist-info/RECORD")
        for row in csv.reader(record.read_text().splitlines())
    }
    there = {path.resolve() for path in venv.rglob("*") if path.is_file() and not path.is_symlink()}

    own = {venv / "pyvenv.cfg", venv / "bin/activate", venv / "bin/activate.fish"}
    assert listed == {path for path in there if path.suffix != ".pyc"} - {path.resolve() for path in own}


def test_pip_uninstalls_without_a_trace(venv: Path, call: Call) -> None:
    """Pip removes scripts, data, headers, hidden originals and bytecode of a package, and nothing else."""
    before = {path for path in venv.rglob("*") if path.is_file()}
    call(venv / "bin/python", "-m", "pip", "uninstall", "-y", "alpha")
    gone = before - {path for path in venv.rglob("*") if path.is_file()}

    assert all("alpha" in str(path.relative_to(venv)) for path in gone)
    assert [path for path in venv.rglob("*alpha*") if path.is_file()] == []


def test_pip_installs_and_upgrades(venv: Path, odd: type[OddWheel], tmp_path: Path, call: Call) -> None:
    """A site can add and upgrade packages with pip as in any venv."""
    (tmp_path / "new").mkdir()
    script = "[console_scripts]\ndelta = delta:main\n"
    odd(name="delta", files={"delta.py": "def main():\n    print('delta')\n"}, entry_points=script).write(
        tmp_path / "new"
    )
    odd(name="beta", version="2.0", files={"ns/beta.py": "B = 2\n"}).write(tmp_path / "new")
    pip = (venv / "bin/python", "-m", "pip", "install", "--no-index", "-q", "--find-links", tmp_path / "new")
    call(*pip, "delta", "beta==2.0")

    assert call(venv / "bin/delta") == "delta\n"
    assert call(venv / "bin/python", "-c", "import ns.beta; print(ns.beta.B)") == "2\n"
    assert not (venv / "lib/py/site-packages/ns_util/beta.py").exists()
    assert call(venv / "bin/python", "-m", "pip", "check") == "No broken requirements found.\n"


def test_uv_lists_installs_and_uninstalls(venv: Path, odd: type[OddWheel], tmp_path: Path, call: Call) -> None:
    """Uv takes it for a relocatable venv of its own kind."""
    (tmp_path / "new").mkdir()
    script = "[console_scripts]\ndelta = delta:main\n"
    odd(name="delta", files={"delta.py": "def main():\n    print('delta')\n"}, entry_points=script).write(
        tmp_path / "new"
    )
    base = [UV, "--no-config", "--offline", "--cache-dir", tmp_path / "cache", "pip"]
    python = ("--python", venv / "bin/python")
    call(*base, "check", *python)
    call(*base, "install", *python, "--no-index", "--find-links", tmp_path / "new", "delta")
    call(*base, "uninstall", *python, "alpha")

    assert call(venv / "bin/delta") == "delta\n"
    assert b"venv" not in (venv / "bin/delta").read_bytes().splitlines()[1]
    freeze = call(*base, "freeze", *python).split()
    assert "delta==1.0" in freeze
    assert "alpha==1.0" not in freeze
    left = {path.parent for path in venv.rglob("*alpha*") if path.is_file()}
    assert left <= {venv / "lib/py/site-packages/__pycache__"}, "uv never removes the .pyc of a single module"
