"""What every isolated build environment does, whichever driver it is: one body of tests for all of them."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import shlex
import signal
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from bundler.buildenv.container import ContainerEnvironment
from bundler.buildenv.drivers import open_environment
from bundler.buildenv.host import HostEnvironment
from bundler.buildenv.limits import Limits
from bundler.buildenv.port import BuildEnvironment, EnvironmentSpec
from bundler.buildenv.rootfs import RootfsEnvironment
from bundler.errors import BuildEnvironmentError, CommandFailed
from bundler.model.lock import Artifact, LockedPackage
from bundler.model.wheel import Wheel
from bundler.store.cas import Store
from bundler.wheels.build import BuildRequest, build_wheel
from bundler.wheels.source import Sources
from tests.buildenv.rooms import EPOCH, Room, room_of
from tests.containers import TARGET, Podman

Opener: TypeAlias = Callable[[pytest.FixtureRequest, Path], BuildEnvironment]

BACKEND = """
import base64, hashlib, os, subprocess, sysconfig, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    print("compiling spam")
    library = "spam" + sysconfig.get_config_var("EXT_SUFFIX")
    include = sysconfig.get_paths()["include"]
    source = os.path.abspath("spam.c")
    subprocess.run(["cc", "-g", "-shared", "-fPIC", f"-I{include}", "-o", library, source], check=True)
    python = "cp" + sysconfig.get_config_var("py_version_nodot")
    tag = f"{python}-{python}-linux_{os.uname().machine}"
    info = "spam-1.0.dist-info"
    files = {
        library: open(library, "rb").read(),
        f"{info}/METADATA": b"Metadata-Version: 2.1\\nName: spam\\nVersion: 1.0\\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\nTag: {tag}\\n".encode(),
    }
    rows = [f"{name},sha256={digest(data)},{len(data)}\\n" for name, data in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\\n"]).encode()
    with zipfile.ZipFile(os.path.join(wheel_directory, f"spam-1.0-{tag}.whl"), "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return f"spam-1.0-{tag}.whl"

def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
"""
EXTENSION = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "spam", __FILE__, -1, NULL};
PyMODINIT_FUNC PyInit_spam(void) { return PyModule_Create(&module); }
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
VARIABLES = {
    "FROM_MANIFEST", "HOME", "LANG", "LC_ALL", "PATH", "PIP_NO_INDEX", "PYTHONHASHSEED", "PYTHONNOUSERSITE",
    "SOURCE_DATE_EPOCH", "TMPDIR", "TZ", "VIRTUAL_ENV",
}  # fmt: skip
#: What a shell sets by itself.
SHELLS = {"PWD", "OLDPWD", "SHLVL", "_"}


def host(_: pytest.FixtureRequest, scratch: Path) -> BuildEnvironment:
    return HostEnvironment(scratch)


def podman(request: pytest.FixtureRequest, scratch: Path) -> BuildEnvironment:
    made: Podman = request.getfixturevalue("podman")
    return ContainerEnvironment.open(made.spec(scratch))


def rootfs(request: pytest.FixtureRequest, scratch: Path) -> BuildEnvironment:
    root: Path = request.getfixturevalue("build_root")
    return RootfsEnvironment.open(EnvironmentSpec(driver="rootfs", target=TARGET, scratch=scratch, system=root))


DRIVERS = [
    pytest.param(host, id="host", marks=(pytest.mark.isolation, pytest.mark.native)),
    pytest.param(rootfs, id="rootfs", marks=(pytest.mark.rootfs, pytest.mark.slow)),
    pytest.param(podman, id="container", marks=(pytest.mark.container, pytest.mark.slow)),
]


@pytest.fixture(scope="module", params=DRIVERS)
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BuildEnvironment:
    opener: Opener = request.param
    return opener(request, tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def room(environment: BuildEnvironment, tmp_path: Path) -> Room:
    return room_of(environment, tmp_path / "root")


def test_build_requirements_are_installed_for_the_targets_python(
    environment: BuildEnvironment, tmp_path: Path, tool_wheel: Path
) -> None:
    """The venv is one of the target's interpreter, and a console script of a build requirement runs from PATH."""
    room = room_of(environment, tmp_path / "root", tool_wheel)

    assert room.shell("tool") == "tool works"
    assert room.shell("python -c 'import platform; print(platform.python_version())'").startswith(
        f"{environment.target.python.version}."
    )
    assert room.shell("command -v tool") == "/build/venv/bin/tool"
    assert "pip" not in room.shell("ls /build/venv/bin")


def test_a_damaged_build_requirement_is_named(environment: BuildEnvironment, tmp_path: Path) -> None:
    """A file that is no wheel ends in an error of ours that names it."""
    bad = tmp_path / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip archive")

    with pytest.raises(BuildEnvironmentError, match=r"bad-1\.0-py3-none-any\.whl does not install"):
        room_of(environment, tmp_path / "root", bad)


def test_a_build_sees_the_variables_that_we_set_and_no_others(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of our environment reaches a build, neither what tools pass on by themselves; umask is 022."""
    for name in ("SECRET_TOKEN", "HTTP_PROXY", "https_proxy", "CFLAGS", "PYTHONPATH"):
        monkeypatch.setenv(name, "hunter2")
    old = os.umask(0o077)
    try:
        seen = dict(line.partition("=")[::2] for line in room.shell("env").splitlines())
        umask = room.shell("umask")
    finally:
        os.umask(old)

    assert set(seen) - SHELLS - {"TOOLS"} == VARIABLES
    assert umask == "0022"
    fixed = {"SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    assert {name: seen[name] for name in fixed} == fixed
    assert seen["FROM_MANIFEST"] == "yes; it's"
    assert (seen["HOME"], seen["TMPDIR"], seen["PATH"].split(":")[0]) == (
        "/build/home", "/build/tmp", "/build/venv/bin",
    )  # fmt: skip


def test_home_and_temporary_directories_are_the_builds_own(room: Room) -> None:
    """They are empty and writable, and what one command leaves there the next one finds."""
    assert room.shell('ls -A "$HOME" "$TMPDIR" /tmp') == "/build/home:\n\n/build/tmp:\n\n/tmp:"
    room.shell('touch "$HOME/kept" "$TMPDIR/kept" /tmp/gone')
    assert room.shell('ls -A "$HOME" "$TMPDIR" /tmp') == "/build/home:\nkept\n\n/build/tmp:\nkept\n\n/tmp:"


def test_there_is_no_network(room: Room) -> None:
    """A build has the loopback device alone, and it is not this host's: a server here cannot be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        with pytest.raises(CommandFailed) as caught:
            room.shell(f'python -c "{code}"')

    assert "ConnectionRefusedError" in caught.value.output or "unreachable" in caught.value.output
    assert room.shell("tail -n +3 /proc/net/dev | cut -d: -f1").split() in (["lo"], [])


def test_nothing_of_this_hosts_files_and_processes_is_seen(room: Room, tmp_path: Path) -> None:
    """Neither files beside the workspace nor this host's processes are there; the host's name is another."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    places = shlex.join([str(secret), str(Path.home() / ".config"), str(Path(__file__))])

    assert room.shell(f"ls -d {places} 2>/dev/null || true") == ""
    with subprocess.Popen(["sleep", "98765"]) as ours:
        seen = room.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        ours.kill()
    assert "/bin/sh -c" in seen
    assert "98765" not in seen
    assert room.shell("uname -n") == "build"


def test_the_system_stays_as_it_is(room: Room) -> None:
    """A build changes nothing outside its private tree, even as root: it cannot, or it is gone with the command."""
    with pytest.raises(CommandFailed):
        room.shell("touch /usr/bin/written")
    room.shell("for place in / /etc /opt /var /var/tmp /run; do touch $place/written 2>/dev/null || true; done")

    assert room.shell("find / -xdev -name written 2>/dev/null || true") == ""
    assert not [
        place for place in ("/", "/etc", "/opt", "/var", "/var/tmp", "/run") if Path(place, "written").exists()
    ]


def test_results_are_ours(room: Room) -> None:
    """What a build leaves in its tree is here under the tree's own name, is ours, and has the modes of umask 022."""
    room.shell("mkdir out/d && echo result >out/d/file && echo '#!/bin/sh' >out/d/script && chmod +x out/d/script")
    found = {path.name: path.stat() for path in room.workspace.output.rglob("*")}

    assert (room.workspace.output / "d" / "file").read_text() == "result\n"
    assert {name: oct(status.st_mode & 0o777) for name, status in found.items()} == {
        "d": "0o755", "file": "0o644", "script": "0o755",
    }  # fmt: skip
    assert {(status.st_uid, status.st_gid) for status in found.values()} == {(os.geteuid(), os.getegid())}


def test_output_is_appended_to_the_log_in_its_order(room: Room) -> None:
    """Both streams go there as they come, below what was there."""
    room.log.write_text("building\n")
    room.environment.run(room.workspace, room.command("echo one; echo two >&2; echo three"))
    room.environment.run(room.workspace, room.command("echo four"))

    assert room.log.read_text() == "building\none\ntwo\nthree\nfour\n"


def test_a_command_that_fails_says_how(room: Room) -> None:
    """Its status and its last words are in the error."""
    with pytest.raises(CommandFailed) as caught:
        room.shell("echo going; echo last words >&2; exit 7")

    assert caught.value.returncode == 7
    assert caught.value.output == "going\nlast words\n"


def test_a_build_that_eats_memory_is_stopped(room: Room) -> None:
    """The declared memory bounds each process, with slack, so that a build cannot take the host down."""
    with pytest.raises(CommandFailed) as caught:
        room.shell("python -c 'bytearray(9 << 30)'", Limits(memory=64))

    assert "MemoryError" in caught.value.output


def test_a_build_that_eats_time_is_stopped(room: Room) -> None:
    """CPU time is bounded by the kernel."""
    with pytest.raises(CommandFailed):
        room.shell("while :; do :; done", Limits(cpu_seconds=1))


def test_a_build_that_hangs_is_stopped_with_all_that_it_started(room: Room) -> None:
    """The wall time is bounded; neither the command nor what it left in the background goes on."""
    with pytest.raises(CommandFailed, match="took longer than 1 s"):
        room.shell("setsid sleep 98761 & sleep 98762", Limits(wall_seconds=1))

    wait_for_end_of("sleep", "9876")


def test_a_command_ends_with_what_it_left_in_the_background(room: Room) -> None:
    """A daemon that a build starts does not outlive the command that started it."""
    room.shell("setsid sleep 98763 >/dev/null 2>&1 &")

    wait_for_end_of("sleep", "98763")


BUILDER = """
import pickle, sys
from pathlib import Path
from bundler.buildenv.drivers import open_environment
spec, workspace, command = pickle.loads(Path(sys.argv[1]).read_bytes())
open_environment(spec).run(workspace, command)
"""


def test_another_process_opens_it_and_a_killed_one_leaves_nothing_running(room: Room, tmp_path: Path) -> None:
    """The environment is a plain value; kill -9 of the process that builds ends the build too."""
    order = tmp_path / "order"
    command = room.command("touch out/begun; sleep 98764; touch out/ended")
    order.write_bytes(pickle.dumps((room.environment.spec, room.workspace, command)))
    with subprocess.Popen([sys.executable, "-c", BUILDER, str(order)]) as builder:
        while not (room.workspace.output / "begun").exists():
            assert builder.poll() is None
            time.sleep(0.02)
        builder.send_signal(signal.SIGKILL)

    wait_for_end_of("sleep", "98764")
    assert not (room.workspace.output / "ended").exists()


def test_an_environment_opened_from_its_value_is_the_same(environment: BuildEnvironment) -> None:
    """Target, identity and what is not isolated are those of the first, so that keys of wheels agree."""
    again = open_environment(environment.spec)

    assert again.spec == environment.spec
    assert (again.target, again.describe()) == (environment.target, environment.describe())


@pytest.fixture
def restored_umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.mark.usefixtures("restored_umask")
def test_two_builds_of_an_extension_are_the_same_bytes(
    environment: BuildEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An sdist with C code is compiled for the target; place, umask, time zone and locale leave no trace in it."""
    first, one = build_spam(environment, Store(tmp_path / "one"))
    os.umask(0o077)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LC_ALL", "C")
    second, two = build_spam(environment, Store(tmp_path / "quite" / "another" / "place"))

    target = environment.target
    assert first.filename == f"spam-1.0-{target.python.tag}-{target.python.tag}-linux_{target.arch}.whl"
    assert first.digest == second.digest
    assert "compiling spam" in next((one.root / "logs").iterdir()).read_text()
    with zipfile.ZipFile(two.path(second.digest)) as archive:
        (library,) = (name for name in archive.namelist() if name.endswith(".so"))
        assert b"/build/spam-1.0/spam.c" in archive.read(library)


def test_what_was_compiled_is_imported(environment: BuildEnvironment, tmp_path: Path) -> None:
    """A compiled wheel serves the next build as its requirement: it loads in the environment that made it."""
    wheel, store = build_spam(environment, Store(tmp_path / "store"))
    path = tmp_path / wheel.filename
    path.write_bytes(store.path(wheel.digest).read_bytes())

    room = room_of(environment, tmp_path / "root", path)
    assert room.shell("python -c 'import spam; print(spam.__doc__)'") == "/build/spam-1.0/spam.c"


def build_spam(environment: BuildEnvironment, store: Store) -> tuple[Wheel, Store]:
    """Return the wheel of an sdist with C code, and the store that has it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in {"pyproject.toml": PYPROJECT, "backend.py": BACKEND, "spam.c": EXTENSION}.items():
            entry = tarfile.TarInfo(f"spam-1.0/{name}")
            entry.size, entry.mtime = len(text), EPOCH
            archive.addfile(entry, io.BytesIO(text.encode()))
    blob = store.put(data.getvalue())
    name = "spam-1.0.tar.gz"
    origin = Artifact(name=name, url=f"https://index.example/{name}", sha256=blob.digest, size=blob.size)
    package = LockedPackage(name="spam", version="1.0", kind="sdist", origin=origin)
    request = BuildRequest(package=package, target=environment.target)
    sources = Sources(store=store, checkout=lambda *_: None, root=Path("/nowhere"))
    return build_wheel(request, environment, sources), store


def wait_for_end_of(*words: str) -> None:
    """Return once no process of this host, in whatever namespace, is called so; the test's time bounds it."""
    sign = "\0".join(words).encode()
    while any(sign in line for line in command_lines()):
        time.sleep(0.05)


def command_lines() -> Iterator[bytes]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield entry.read_bytes()
