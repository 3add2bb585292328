"""Layers of odd wheels: where files lie, what RECORD says, and that the bytes are always the same."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import posixpath
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.events import Event, ItemFinished, StageAdvanced, StageFinished, StageStarted
from bundler.model.lock import GitSource
from bundler.model.target import Python
from bundler.venvs.entry_points import EntryPoint
from bundler.venvs.layer_tree import layer_path
from bundler.venvs.make_layers import LayerRequest, make_layers

if TYPE_CHECKING:
    from tests.venvs.conftest import Bench, OddWheel

SITE = "lib/py/site-packages"
LONG = "/".join(["very_long_directory_name"] * 8) + "/module.py"


def _everything(odd: type[OddWheel]) -> OddWheel:
    """Return a wheel with nearly all that a wheel may hold."""
    return odd(
        name="everything",
        files={
            "everything/__init__.py": "def main():\n    print('hello')\n",
            "everything/größe.py": "SIZE = 1\n",
            "everything/データ.txt": "x",
            f"everything/{LONG}": "DEEP = True\n",
            "everything/empty.py": b"",
            "everything/broken.py": "def (:\n",
            "everything/python2.py": "print 'no'\n",
            "everything/tool.bin": b"\x7fELF...",
            "everything/_speed.cpython-311-x86_64-linux-gnu.so": b"so",
            "everything/__pycache__/__init__.cpython-311.pyc": b"evil",
            "everything/run.sh": "#!/bin/sh\n",
            "single.py": "ONE = 1\n",
            "everything.pth": "import sys\n",
            "everything-1.0.data/scripts/tool": b"#!python -E\nimport sys\nprint('tool')\n",
            "everything-1.0.data/scripts/documented": b'#!python\n"""Doc."""\nprint(__doc__)\n',
            "everything-1.0.data/scripts/shell": b"#!/bin/bash\necho shell\n",
            "everything-1.0.data/scripts/binary": b"\x7fELF" + b"\0" * 100,
            "everything-1.0.data/scripts/hello": b"#!python\nprint('of the wheel')\n",
            "everything-1.0.data/data/etc/everything/conf.ini": "[x]\n",
            "everything-1.0.data/data/lib/python3.9/odd.txt": "o",
            "everything-1.0.data/data/lib64/python3.12/site-packages/late.py": "L = 1\n",
            "everything-1.0.data/headers/everything.h": "int x;\n",
            "everything-1.0.data/platlib/everything/plat.py": "P = 1\n",
            "everything-1.0.data/purelib/everything/pure.py": "Q = 1\n",
        },
        entry_points="[console_scripts]\nhello = everything:main\n[gui_scripts]\nwindow = everything:main [x]\n"
        "[some.group]\nplug = everything\n",
        executable=["everything/run.sh"],
        metadata={"RECORD.jws": "{}"},
    )


def test_each_scheme_lies_where_it_belongs(bench: Bench, odd: type[OddWheel]) -> None:
    """A layer holds a wheel's files as pip would install them, under names that no Python version is in."""
    files = bench.files(bench.layer(_everything(odd)).source.blob)

    info = f"{SITE}/everything-1.0.dist-info"
    assert sorted(files) == sorted(
        [
            "bin/.documented.py",
            *(f"bin/{name}" for name in ("binary", "documented", "hello", "shell", "tool", "window")),
            "etc/everything/conf.ini",
            "include/site/py/everything/everything.h",
            "lib/py/odd.txt",
            f"{SITE}/everything.pth",
            *(f"{SITE}/everything/{name}.py" for name in ("__init__", "broken", "empty", "größe", "plat", "pure")),
            *(f"{SITE}/everything/{name}" for name in (LONG, "python2.py", "run.sh", "tool.bin", "データ.txt")),
            f"{SITE}/everything/_speed.cpython-311-x86_64-linux-gnu.so",
            f"{SITE}/late.py",
            f"{SITE}/single.py",
            *(f"{info}/{name}" for name in ("INSTALLER", "METADATA", "RECORD", "WHEEL", "entry_points.txt")),
        ]
    )
    assert files[f"{info}/INSTALLER"] == b"bundle-build\n"


def test_an_entry_point_beats_a_script_of_its_name(bench: Bench, odd: type[OddWheel]) -> None:
    """As with pip, the generated script is the one that is installed."""
    files = bench.files(bench.layer(_everything(odd)).source.blob)

    assert b"from everything import main" in files["bin/hello"]


def test_modes_are_those_of_the_wheel(bench: Bench, odd: type[OddWheel]) -> None:
    """All scripts can be run, and of the other files those that could be in the wheel."""
    content = bench.content(bench.layer(_everything(odd)).source.blob)
    executable = {path for path, (entry, _) in content.items() if entry.kind == "file" and entry.executable}

    scripts = {"binary", "documented", "hello", "shell", "tool", "window"}
    assert executable == {*(f"bin/{name}" for name in scripts), f"{SITE}/everything/run.sh"}


def test_record_lists_every_file_with_its_digest(bench: Bench, odd: type[OddWheel]) -> None:
    """RECORD names exactly the files of the source layer, relative to site-packages, sorted."""
    files = bench.files(bench.layer(_everything(odd)).source.blob)
    record = f"{SITE}/everything-1.0.dist-info/RECORD"
    rows = list(csv.reader(files[record].decode().splitlines()))

    expected = []
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        name = posixpath.relpath(path, SITE)
        expected.append([name, "", ""] if path == record else [name, f"sha256={digest}", str(len(data))])
    assert rows == sorted(expected)


def test_what_a_reviewer_asks_is_remembered(bench: Bench, odd: type[OddWheel]) -> None:
    """Entry points, scripts, .pth files, native code and import names are known without reading the layer."""
    source = bench.layer(_everything(odd)).source

    assert source.entry_points[0] == EntryPoint(group="console_scripts", name="hello", value="everything:main")
    assert source.console_scripts == ("hello", "window")
    assert source.scripts == (".documented.py", "binary", "documented", "hello", "shell", "tool", "window")
    assert source.pth == (f"{SITE}/everything.pth",)
    assert source.native == (
        "bin/binary",
        f"{SITE}/everything/_speed.cpython-311-x86_64-linux-gnu.so",
        f"{SITE}/everything/tool.bin",
    )
    assert source.top_level == ("everything", "late.py", "single.py")
    assert source.dist_info == "everything-1.0.dist-info"


def test_the_bytecode_layer_holds_what_compiles(bench: Bench, odd: type[OddWheel], python: Python) -> None:
    """Every source below site-packages that is Python of this version has its .pyc, and nothing else is there."""
    files = bench.files(bench.layer(_everything(odd)).bytecode)

    tag = f"cpython-{python.version.replace('.', '')}.pyc"
    inside = f"{SITE}/everything/__pycache__"
    deep = posixpath.dirname(LONG)
    assert sorted(files) == sorted(
        [
            *(f"{inside}/{name}.{tag}" for name in ("__init__", "empty", "größe", "plat", "pure")),
            f"{SITE}/everything/{deep}/__pycache__/module.{tag}",
            f"{SITE}/__pycache__/late.{tag}",
            f"{SITE}/__pycache__/single.{tag}",
        ]
    )


def test_bytecode_has_a_checked_hash_and_no_path(bench: Bench, odd: type[OddWheel]) -> None:
    """A .pyc is valid as long as its source's content is (PEP 552), and names no directory of this host."""
    for data in bench.files(bench.layer(_everything(odd)).bytecode).values():
        assert data[4:8] == b"\x03\0\0\0"
        assert os.fsencode(bench.folder.parent) not in data
        assert b"site-packages" not in data


def test_a_wheel_without_python_has_no_bytecode_layer(bench: Bench, odd: type[OddWheel]) -> None:
    """Nothing to compile, or nothing that compiles, makes no layer."""
    assert bench.layer(odd(name="stubs", files={"stubs/x.pyi": "x: int\n"})).bytecode is None
    assert bench.layer(odd(name="broken", files={"broken.py": "def (:\n"})).bytecode is None
    assert bench.layer(odd(name="broken", files={"broken.py": "def (:\n"})).reused


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="runs the interpreter again")
def test_two_stores_hold_the_same_bytes(tmp_path: Path, odd: type[OddWheel], python: Python) -> None:
    """Directory, umask, locale, time zone, hash seed and threads leave no trace."""
    wheel = _everything(odd).write(tmp_path)
    code = (
        "import os, sys, pathlib\n"
        "os.umask(int(sys.argv[3], 8))\n"
        "from bundler.model.lock import Artifact\nfrom bundler.model.target import Python\n"
        "from bundler.model.wheel import Wheel\nfrom bundler.store.cas import Store\n"
        "from bundler.venvs.make_layers import *\n"
        "from bundler.venvs.archive import *\nfrom bundler.venvs.frame import FrameRequest\n"
        "store = Store(pathlib.Path(sys.argv[1])); blob = store.put_file(pathlib.Path(sys.argv[2]))\n"
        "origin = Artifact(name='x', url='https://index.example/x', sha256=blob.digest)\n"
        "wheel = Wheel(name='everything', version='1.0', filename='everything-1.0-py3-none-any.whl',\n"
        "    digest=blob.digest, size=blob.size, kind='wheel', origin=origin)\n"
        f"python = Python(full_version={python.full_version!r}, executable={python.executable!r})\n"
        "layers = make_layers(store, [LayerRequest(wheel=wheel, python=python)], workers=int(sys.argv[4]))\n"
        "frame = FrameRequest(name='v', python=python, install_path='/opt/v', files={'é': b'x'})\n"
        "archive, = make_archives(store, [ArchiveRequest(frame=frame, layers=list(layers))])\n"
        "print(archive.sha256)\n"
    )
    environments = [
        ("one", "022", "1", {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1"}),
        ("a longer name", "077", "3", {"LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "2"}),
    ]
    digests = set()
    for name, umask, workers, extra in environments:
        command = [sys.executable, "-c", code, str(tmp_path / name), str(wheel), umask, workers]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **extra}
        digests.add(subprocess.run(command, env=env, capture_output=True, check=True, text=True).stdout)

    assert len(digests) == 1


def test_a_layer_is_made_once(bench: Bench, odd: type[OddWheel], python: Python) -> None:
    """A second run takes layers from the store and says so, with the same figures."""
    wheels = [bench.wheel(odd(name=name, files={f"{name}.py": "x = 1\n"})) for name in ("one", "two")]
    requests = [LayerRequest(wheel=wheel, python=python) for wheel in wheels]
    runs: list[list[Event]] = [[], []]
    first = make_layers(bench.store, requests, emit=runs[0].append)
    second = make_layers(bench.store, requests, emit=runs[1].append)

    assert [layer.blobs for layer in first] == [layer.blobs for layer in second]
    assert [layer.reused for layer in (*first, *second)] == [False, False, True, True]
    for run, reused in zip(runs, (0, 2), strict=True):
        assert run[0] == StageStarted(stage="layers", total=2)
        assert sum(event.amount for event in run if isinstance(event, StageAdvanced)) == 2
        assert sum(isinstance(event, ItemFinished) for event in run) == 2
        last = run[-1]
        assert isinstance(last, StageFinished)
        assert (last.items, last.reused) == (2, reused)
        assert last.size == sum(blob.size for layer in first for blob in layer.blobs)


def test_a_second_python_adds_its_bytecode_only(bench: Bench, odd: type[OddWheel], python: Python) -> None:
    """The source layer is shared between Pythons; without a Python there is no bytecode."""
    wheel = bench.wheel(odd(name="one", files={"one.py": "x = 1\n"}))
    bare = make_layers(bench.store, [LayerRequest(wheel=wheel, python=None)]).of(wheel, None)
    full = make_layers(bench.store, [LayerRequest(wheel=wheel, python=python)]).of(wheel, python)

    assert bare.bytecode is None
    assert bare.source == full.source
    assert full.blobs == (bare.source.blob, full.bytecode)


def test_a_lost_blob_is_made_again(bench: Bench, odd: type[OddWheel]) -> None:
    """What is remembered counts only as long as the blobs are there."""
    wheel = bench.wheel(odd(name="one", files={"one.py": "x = 1\n"}))
    layer = bench.layer(wheel)
    for blob in layer.blobs:
        bench.store.path(blob.digest).unlink()
    again = bench.layer(wheel)

    assert again.blobs == layer.blobs
    assert all(bench.store.has(blob.digest) for blob in layer.blobs)


def test_no_unfinished_work_is_left(bench: Bench, odd: type[OddWheel]) -> None:
    """The store's working directory is empty afterwards."""
    bench.layer(_everything(odd))

    assert list(bench.store.tmp.iterdir()) == []


def test_a_wheel_from_git_says_so(bench: Bench, odd: type[OddWheel]) -> None:
    """direct_url.json (PEP 610) names the commit, and the layer is one of its own."""
    origin = GitSource(url="https://git.example/x", commit="c" * 40, requested_revision="v1", subdirectory="sub")
    wheel = odd(name="one", files={"one.py": "x = 1\n"})
    files = bench.files(bench.layer(bench.wheel(wheel, origin=origin)).source.blob)

    assert files[f"{SITE}/one-1.0.dist-info/direct_url.json"] == (
        b'{"subdirectory": "sub", "url": "https://git.example/x", "vcs_info": {"commit_id": "'
        + b"c" * 40
        + b'", "requested_revision": "v1", "vcs": "git"}}'
    )
    assert f"{SITE}/one-1.0.dist-info/direct_url.json" not in bench.files(bench.layer(wheel).source.blob)


@pytest.mark.slow
def test_a_big_file_is_not_read_into_memory(bench: Bench, tmp_path: Path) -> None:
    """A shared library of 400 MB takes no more memory than a small one."""
    path = tmp_path / "big-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("big.so", "w", force_zip64=True) as file:
            for number in range(400):
                file.write(number.to_bytes(2, "big") * (1 << 19))
        archive.writestr("big-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: big\nVersion: 1.0\n")
        archive.writestr("big-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
        archive.writestr("big-1.0.dist-info/RECORD", "")
    wheel = bench.stored(path)
    peak = _watch_memory(lambda: make_layers(bench.store, [LayerRequest(wheel=wheel, python=None)]))

    assert peak < 100 << 20


def _watch_memory(work: Callable[[], object]) -> int:
    """Return by how many bytes the resident memory rose at most, looked at 50 times a second."""
    done = threading.Event()
    seen: list[int] = []

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def watch() -> None:
        while not done.is_set():
            seen.append(resident())
            time.sleep(0.02)

    before = resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(seen) - before


@pytest.mark.parametrize(
    ("scheme", "path", "place"),
    [
        ("data", "lib/python3.11/x", "lib/py/x"),
        ("data", "lib64/python3.11/x", "lib/py/x"),
        ("data", "lib64/x", "lib/x"),
        ("data", "include/site/python3.13/x.h", "include/site/py/x.h"),
        ("data", "lib/python3/x", "lib/python3/x"),
        ("data", "lib/python3.11", "lib/python3.11"),
        ("headers", "sub/x.h", "include/site/py/odd/sub/x.h"),
        ("platlib", "x.so", f"{SITE}/x.so"),
        ("scripts", "x", "bin/x"),
    ],
)
def test_where_a_scheme_lies(scheme: str, path: str, place: str) -> None:
    """Directories that are named after a Python version lose it."""
    assert layer_path(scheme, path, "odd") == place
