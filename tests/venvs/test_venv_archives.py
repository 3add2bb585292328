"""Venv archives: order, digest, collisions, the frame, and our own unpacking."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.archive.compress import compress_frame
from bundler.archive.tar import TarEntry, file_of, segment, segment_size, with_directories
from bundler.errors import IntegrityError, LayerCollision, StoreError
from bundler.events import Event, ItemFinished, StageFinished
from bundler.model.target import Python
from bundler.venvs.archive import ArchiveRequest, VenvArchive, concatenate, make_archives, unpack
from bundler.venvs.frame import FrameRequest

if TYPE_CHECKING:
    from tests.venvs.conftest import Bench, OddWheel

SITE = "lib/py/site-packages"


def _one(odd: type[OddWheel], name: str = "one", **files: str) -> OddWheel:
    return odd(
        name=name, files={f"{name}/__init__.py": "", **{f"{name}/{key}.py": text for key, text in files.items()}}
    )


def _tree(root: Path) -> dict[str, object]:
    """Return every path with what is there: link text, or mode and content."""
    return {
        path.relative_to(root).as_posix(): (
            str(path.readlink())
            if path.is_symlink()
            else (oct(path.stat().st_mode), b"" if path.is_dir() else path.read_bytes())
        )
        for path in root.rglob("*")
    }


def test_the_blobs_are_in_the_order_of_names(bench: Bench, odd: type[OddWheel]) -> None:
    """Source and bytecode of each package by name, then the frame, then the end: in whatever order they came."""
    one, two = bench.layer(_one(odd, "one")), bench.layer(_one(odd, "two"))
    forward = bench.archive(_one(odd, "one"), _one(odd, "two"))
    backward = bench.archive(_one(odd, "two"), _one(odd, "one"))

    assert forward == backward
    assert forward.blobs[:4] == (*one.blobs, *two.blobs)
    assert len(forward.blobs) == 6


def test_the_digest_is_that_of_the_concatenation(bench: Bench, odd: type[OddWheel]) -> None:
    """Size and SHA-256 are those of the file that a repo host serves."""
    archive = bench.archive(_one(odd))
    data = b"".join(concatenate(bench.store, archive.blobs))

    assert (archive.size, archive.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_an_archive_is_remembered(bench: Bench, odd: type[OddWheel], python: Python) -> None:
    """The second time nothing is read again; the events say so."""
    request = ArchiveRequest(
        frame=FrameRequest(name="v", python=python, install_path="/opt/v"), layers=[bench.layer(_one(odd))]
    )
    events: list[Event] = []
    first = make_archives(bench.store, [request])
    bench.store.path(first[0].blobs[0].digest).chmod(0o000)
    second = make_archives(bench.store, [request], emit=events.append)

    assert first == second
    assert [event.note for event in events if isinstance(event, ItemFinished)] == ["reused"]
    last = events[-1]
    assert isinstance(last, StageFinished)
    assert (last.items, last.reused, last.size) == (1, 1, first[0].size)


def test_our_unpacking_gives_what_stock_tar_gives(bench: Bench, odd: type[OddWheel], tmp_path: Path) -> None:
    """Frames unpacked in parallel make the same tree, modes and links, under any umask."""
    wheels = [
        _one(odd, "one", größe="x = 1\n", **{"long_" * 40: "y = 1\n"}),
        odd(name="two", files={"two.py": "", "two-1.0.data/scripts/two": b"#!python\n"}),
    ]
    stock = bench.unpacked(tmp_path / "stock", *wheels)
    archive = bench.archive(*wheels)
    mask = os.umask(0o077)
    try:
        unpack(bench.store, archive, tmp_path / "ours", workers=4)
    finally:
        os.umask(mask)

    assert _tree(tmp_path / "ours") == _tree(stock)


def test_identical_files_of_two_packages_are_fine(bench: Bench, odd: type[OddWheel], tmp_path: Path) -> None:
    """Old namespace packages have the same __init__.py; that is no collision, bytecode included."""
    shared = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'
    wheels = [odd(name=n, files={"ns/__init__.py": shared, f"ns/{n}.py": f"N = '{n}'\n"}) for n in ("one", "two")]
    venv = bench.unpacked(tmp_path / "venv", *wheels)
    unpack(bench.store, bench.archive(*wheels), tmp_path / "ours")

    assert _tree(venv) == _tree(tmp_path / "ours")


def test_different_files_for_one_path_are_refused(bench: Bench, odd: type[OddWheel]) -> None:
    """The error names venv, both packages and every path."""
    one = odd(name="one", files={"same.py": "x = 1\n", "tests/__init__.py": "1", "fine.py": ""})
    two = odd(name="two", files={"same.py": "x = 2\n", "tests/__init__.py": "2", "fine.py": ""})
    with pytest.raises(LayerCollision) as caught:
        bench.archive(one, two)

    assert [(problem.where, problem.what) for problem in caught.value.problems] == [
        ("odd", f"one and two have different files for {SITE}/same.py"),
        ("odd", f"one and two have different files for {SITE}/tests/__init__.py"),
    ]
    with pytest.raises(LayerCollision):
        bench.archive(one, two)


def test_the_same_content_with_another_mode_is_a_collision(bench: Bench, odd: type[OddWheel]) -> None:
    """Identical means content and mode."""
    one, two = odd(name="one", files={"x.sh": ""}), odd(name="two", files={"x.sh": ""}, executable=["x.sh"])

    with pytest.raises(LayerCollision):
        bench.archive(one, two)


def test_a_file_of_one_and_a_directory_of_another_are_refused(bench: Bench, odd: type[OddWheel]) -> None:
    """Such a venv could not be unpacked."""
    with pytest.raises(LayerCollision) as caught:
        bench.archive(odd(name="one", files={"x": ""}), odd(name="two", files={"x/y.py": ""}))

    assert caught.value.problems[0].what == f"one and two have a file and a directory for {SITE}/x"


@pytest.mark.parametrize("path", ["pyvenv.cfg", "bin/python", "bin/activate", "lib64", "lib/python3.11"])
def test_no_package_replaces_the_venv_itself(bench: Bench, odd: type[OddWheel], path: str, python: Python) -> None:
    """The frame's files and links are not to be had."""
    own = path.replace("3.11", python.version)

    with pytest.raises(LayerCollision, match="own the same paths"):
        bench.archive(odd(name="evil", files={f"evil-1.0.data/data/{own}": "x"}))


def test_a_package_below_a_linked_system_package_is_refused(bench: Bench, odd: type[OddWheel]) -> None:
    """Files of a layer must not end up inside the system."""
    links = [(f"{SITE}/apt", "/usr/lib/python3/dist-packages/apt")]

    with pytest.raises(LayerCollision, match="own the same paths"):
        bench.archive(odd(name="evil", files={"apt/x.py": ""}), links=links)


def test_collisions_of_all_venvs_are_reported_together(bench: Bench, odd: type[OddWheel], python: Python) -> None:
    """One run shows what is wrong with every venv."""
    layers = [bench.layer(odd(name=name, files={"x.py": name})) for name in ("one", "two")]
    requests = [
        ArchiveRequest(
            frame=FrameRequest(name=name, python=python, install_path="/opt/v"), layers=layers, target="debian-12"
        )
        for name in ("nova", "glance")
    ]
    with pytest.raises(LayerCollision) as caught:
        make_archives(bench.store, requests)

    assert [problem.where for problem in caught.value.problems] == ["nova (debian-12)", "glance (debian-12)"]


def test_the_frame_depends_on_the_request_only(bench: Bench, tmp_path: Path, python: Python) -> None:
    """pyvenv.cfg has no build path, the links are relative but the interpreter's and those of system packages."""
    links = [(f"{SITE}/apt_pkg.so", "/usr/lib/python3/dist-packages/apt_pkg.so")]
    venv = bench.unpacked(tmp_path / "venv", files={"share/bundle/constraints.txt": b"x==1\n"}, links=links)
    found = {path: text for path, text in _tree(venv).items() if isinstance(text, str)}

    version = python.version
    assert found == {
        "bin/python": python.executable,
        "bin/python3": "python",
        f"bin/python{version}": "python",
        f"include/site/python{version}": "py",
        f"lib/python{version}": "py",
        "lib64": "lib",
        f"{SITE}/apt_pkg.so": "/usr/lib/python3/dist-packages/apt_pkg.so",
    }
    assert (venv / "share/bundle/constraints.txt").read_bytes() == b"x==1\n"
    assert (venv / "pyvenv.cfg").read_text() == (
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python.full_version}\n"
        f"version_info = {python.full_version}\nrelocatable = true\nprompt = odd\n"
    )


@pytest.mark.parametrize("path", ["../x", "/x", "a/../b", ""])
def test_documents_stay_inside_the_venv(bench: Bench, path: str) -> None:
    """Paths that the caller gives are checked too."""
    with pytest.raises(IntegrityError):
        bench.archive(files={path: b""})


@pytest.mark.parametrize("shell", ["bash", "zsh", "ksh"])
def test_activate_finds_its_own_directory(bench: Bench, tmp_path: Path, shell: str, call: Callable[..., str]) -> None:
    """Sourced from anywhere, through a link too, activate puts the venv first; deactivate puts all back."""
    if call("sh", "-c", f"command -v {shell} || true") == "":
        pytest.skip(f"{shell} is not installed")
    venv = bench.unpacked(tmp_path / "a b'c" / "venv", name="it's")
    (tmp_path / "link").symlink_to(venv)
    code = (
        '. "$0"; python -c "import sys; print(sys.executable)"\n'
        'echo "$VIRTUAL_ENV"; echo "$VIRTUAL_ENV_PROMPT"; echo "${PYTHONHOME-gone}"\n'
        'deactivate; echo "$PATH"; echo "${VIRTUAL_ENV-gone}"; echo "$PYTHONHOME"; command -v deactivate || echo gone'
    )

    for activate in (venv / "bin/activate", tmp_path / "link/bin/activate"):
        out = call(shell, "-c", code, activate, PYTHONHOME="/usr").splitlines()
        assert out == [f"{venv}/bin/python", str(venv), "it's", "gone", "/usr/bin:/bin", "gone", "/usr", "gone"]


def test_activate_in_plain_sh_uses_the_install_path(bench: Bench, tmp_path: Path, call: Callable[..., str]) -> None:
    """A shell that cannot say where the script lies takes the path that the venv was made for."""
    place = tmp_path / "in$tall path"
    bench.unpacked(place, install_path=str(place))

    assert call("sh", "-uc", f"cd '{place}'; . bin/activate; command -v python").strip() == f"{place}/bin/python"


def test_a_damaged_blob_is_noticed(bench: Bench, odd: type[OddWheel], tmp_path: Path) -> None:
    """Blobs are verified whenever they are read."""
    archive = bench.archive(_one(odd))
    path = bench.store.path(archive.blobs[0].digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")

    with pytest.raises(StoreError, match="damaged"):
        b"".join(concatenate(bench.store, archive.blobs))
    with pytest.raises((StoreError, IntegrityError)):
        unpack(bench.store, archive, tmp_path / "venv")


def test_a_layer_with_an_absolute_link_is_not_unpacked(bench: Bench, tmp_path: Path) -> None:
    """Only the links that the frame announces may leave the venv."""
    entries = with_directories([TarEntry(path="lib/x", kind="link", target="/etc"), file_of("a", b"")])
    blob = bench.store.put(compress_frame(segment(entries), segment_size(entries)))

    with pytest.raises(IntegrityError, match="points outside"):
        unpack(bench.store, VenvArchive(blobs=(blob,), sha256="", size=blob.size), tmp_path / "venv")


def test_stock_zstd_and_tar_see_one_archive(bench: Bench, odd: type[OddWheel], tmp_path: Path) -> None:
    """Both programs accept the concatenation without a warning."""
    archive = bench.archive(_one(odd))
    file = tmp_path / "v.tar.zst"
    file.write_bytes(b"".join(concatenate(bench.store, archive.blobs)))
    tested = subprocess.run(["zstd", "-t", file], capture_output=True, check=True, text=True)
    listed = subprocess.run(["tar", "--zstd", "-tf", file], capture_output=True, check=True, text=True)

    assert "error" not in tested.stderr.lower()
    assert listed.stderr == ""
    assert f"{SITE}/one/__init__.py" in listed.stdout.splitlines()
