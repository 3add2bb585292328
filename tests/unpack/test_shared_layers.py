"""Layers that several venvs have: unpacked once, by several processes, and linked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundler.archive.tar import file_of
from bundler.errors import IntegrityError
from tests.unpack.conftest import SHARED, SITE, Host, archive_of, frame, layer, own_frame, tree

NAMES = ("nova", "glance", "heat")


def many(name: str) -> bytes:
    """Return an archive of which other names share every third layer."""
    layers = [layer({f"m{n}/{name if n % 3 else 'all'}.py": f"{n}", "same.txt": "same"}) for n in range(12)]
    return archive_of(*layers, own=own_frame(name))


@pytest.mark.parametrize("copy", [False, True])
def test_several_processes_make_what_tar_makes(host: Host, copy: bool) -> None:
    """Whoever writes a file first, all venvs end as tar makes them; a file of many layers is one of them."""
    for name in NAMES:
        host.archive(f"{name}-1", many(name))

    done = host.unpack(*(f"{name}-1" for name in NAMES), workers=3, copy=copy)

    for one in done:
        assert tree(one.path) == tree(host.plain(one.path.name))
    shared = {(one.path / SITE / "m3" / "all.py").stat().st_ino for one in done}
    assert len(shared) == (len(NAMES) if copy else 1)


def test_processes_that_bring_different_files_are_refused(host: Host) -> None:
    """Two layers that disagree do so whichever process has them, and nothing of the venv stays."""
    layers = [layer({f"m{n}.py": "", "same.txt": "other" if n == 7 else "same"}) for n in range(12)]
    host.archive("nova-1", archive_of(*layers))

    with pytest.raises(IntegrityError, match=r"different files at .*same\.txt"):
        host.unpack("nova-1", workers=2)

    assert [path.name for path in host.venvs.iterdir()] == [".bundle-install"]


@pytest.mark.parametrize("first", ["x", "x/y"])
def test_a_file_that_is_a_directory_in_another_layer_is_refused(host: Host, first: str) -> None:
    """Two layers must agree on what a path is, in one run and against a venv that is there."""
    one, two = (layer({path: ""}) for path in (first, "x/y" if first == "x" else "x"))
    with pytest.raises(IntegrityError):
        host.put("nova-1", one, two)
    host.put("glance-1", one, own=own_frame("glance"))
    host.put("heat-1", two, own=own_frame("heat"))

    with pytest.raises(IntegrityError):
        host.put("nova-1", one, two)


def test_bytecode_of_equal_sources_may_differ(host: Host) -> None:
    """Where two layers have the same module, either's bytecode does: in one run and the next."""
    name = "same/__pycache__/m.cpython-311.pyc"
    one, two = layer({"same/m.py": "", name: "1"}), layer({"same/m.py": "", name: "2"})

    host.put("nova-1", one, two)
    done = host.put("nova-2", two, one)

    assert (done.path / SITE / name).read_text() in ("1", "2")


def test_a_venv_that_lacks_a_file_is_passed_over(host: Host) -> None:
    """A layer comes from the first venv that has all of it; pip may have removed a package from another."""
    one = host.put("nova-1", SHARED)
    other = host.put("glance-1", SHARED, own=own_frame("glance"))
    data = f"{SITE}/shared/deep/data.txt"
    (other.path / data).unlink()

    done = host.put("heat-1", SHARED, own=own_frame("heat"))

    assert done.reused == 1
    assert (done.path / data).stat().st_ino == (one.path / data).stat().st_ino


@pytest.mark.parametrize("edit", ["mode", "time", "size", "link"])
def test_a_file_that_was_changed_is_not_linked(host: Host, edit: str) -> None:
    """Whatever was done to a file of a venv, the next venv has what was signed."""
    one = host.put("nova-1", SHARED)
    path = one.path / SITE / "shared" / "__init__.py"
    before = path.stat()
    if edit == "mode":
        path.chmod(0o644)
    elif edit == "time":
        os.utime(path)
    elif edit == "size":
        path.write_text("longer than it was\n")
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    else:
        path.unlink()
        path.symlink_to("/etc/passwd")

    done = host.put("nova-2", SHARED)

    new = done.path / SITE / "shared" / "__init__.py"
    assert (done.reused, new.is_symlink(), new.read_text()) == (0, False, "x = 1\n")
    assert new.stat().st_mode & 0o777 == 0o444


def test_modes_do_not_depend_on_the_umask(host: Host, tmp_path: Path) -> None:
    """A venv that root unpacks with a strict umask serves everybody; the umask is as before then."""
    run = frame([file_of("bin/run", b"#!/bin/sh\n", executable=True)])
    before = os.umask(0o077)
    try:
        host.put("nova-1", SHARED, run)
        assert os.umask(before) == 0o077
    finally:
        os.umask(before)

    paths = ("", "bin", "bin/run", "bin/activate", "pyvenv.cfg", SITE, f"{SITE}/shared/__init__.py")
    modes = {path: oct((host.venvs / "nova-1" / path).stat().st_mode & 0o7777) for path in paths}
    assert set(modes.values()) == {"0o755", "0o555", "0o644", "0o444"}
    assert (modes["bin/run"], modes["bin"], modes[SITE]) == ("0o555", "0o755", "0o755")
    assert not list(tmp_path.rglob("*.partial*"))


def test_an_archive_with_our_record_in_it_is_refused(host: Host) -> None:
    """What we note of a venv comes from us: neither a layer nor the venv's own frame may bring it."""
    bad = frame([file_of(".bundle-venv.json", b"{}")])

    with pytest.raises(IntegrityError, match="bundle-venv"):
        host.put("nova-1", bad)
    with pytest.raises(IntegrityError, match="bundle-venv"):
        host.put("nova-1", SHARED, own=own_frame(more=[file_of(".bundle-venv.json", b"{}")]))
