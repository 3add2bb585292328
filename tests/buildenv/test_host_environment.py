"""The host build environment: what a build sees, and what it does not."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from bundler.buildenv.host import HostEnvironment
from bundler.buildenv.limits import Limits, prefix
from bundler.buildenv.port import BuildCommand, BuildEnvironment, Workspace
from bundler.errors import BuildEnvironmentError, CommandFailed

EPOCH = 1_700_000_000


def tool_wheel(folder: Path) -> Path:
    """Make a wheel with a module and a console script."""
    path = folder / "tool-1.0-py3-none-any.whl"
    files = {
        "tool.py": "def main():\n    print('tool works')\n",
        "tool-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n",
        "tool-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, "tool-1.0.dist-info/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, "tool-1.0.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return path


@pytest.fixture(params=[pytest.param(True, marks=pytest.mark.isolation), False], ids=["bubblewrap", "plain"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> HostEnvironment:
    found = HostEnvironment(tmp_path / "scratch", isolate=request.param)
    assert found.isolated is request.param
    return found


@pytest.fixture
def workspace(environment: HostEnvironment, tmp_path: Path) -> Workspace:
    root = tmp_path / "root"
    root.mkdir()
    wheel = tool_wheel(tmp_path)
    return environment.create(root, {wheel.name: wheel})


def shell(environment: BuildEnvironment, workspace: Workspace, script: str, limits: Limits | None = None) -> str:
    log = workspace.root.parent / "log"
    log.unlink(missing_ok=True)
    command = BuildCommand(
        argv=["/bin/sh", "-c", script],
        cwd=str(workspace.seen_at),
        log=log,
        epoch=EPOCH,
        env={"FROM_MANIFEST": "yes"},
        limits=limits or Limits(),
    )
    environment.run(workspace, command)
    return log.read_text().strip()


def test_build_requirements_are_installed_with_working_scripts(
    environment: HostEnvironment, workspace: Workspace
) -> None:
    """A console script of a build requirement runs from PATH with the target's interpreter."""
    assert shell(environment, workspace, "tool") == "tool works"
    version = shell(environment, workspace, "python -c 'import platform; print(platform.python_version())'")
    assert version == environment.target.python.full_version


def test_the_environment_is_minimal_and_fixed(
    environment: HostEnvironment, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of our environment reaches a build; what reproducible builds need is set; umask is 022."""
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    old = os.umask(0o077)
    try:
        seen = dict(line.partition("=")[::2] for line in shell(environment, workspace, "env").splitlines())
        assert shell(environment, workspace, "umask") == "0022"
    finally:
        os.umask(old)

    assert "SECRET_TOKEN" not in seen
    fixed = {"SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    assert {key: seen[key] for key in fixed} == fixed
    assert seen["FROM_MANIFEST"] == "yes"
    assert seen["HOME"] == f"{workspace.seen_at}/home"


@pytest.mark.isolation
def test_inside_bubblewrap_there_is_no_network_no_home_and_a_fixed_path(tmp_path: Path) -> None:
    """A build sees /build, the loopback device alone, no home directory and no keys below /etc."""
    environment = HostEnvironment(tmp_path / "scratch")
    root = tmp_path / "root"
    root.mkdir()
    workspace = environment.create(root, {})

    assert str(workspace.seen_at) == "/build"
    assert environment.describe() == ()
    interfaces = shell(environment, workspace, "tail -n +3 /proc/net/dev | cut -d: -f1").split()
    assert interfaces in (["lo"], [])
    assert shell(environment, workspace, "ls -d /root /home /etc/shadow /etc/pip.conf 2>/dev/null || true") == ""
    with pytest.raises(CommandFailed):
        shell(environment, workspace, "touch /usr/written")


def test_without_bubblewrap_it_says_what_is_not_isolated(tmp_path: Path) -> None:
    """The description names the network, so that the bundle can say so."""
    assert "network" in HostEnvironment(tmp_path, isolate=False).describe()


def test_without_bubblewrap_compilers_are_told_to_map_the_build_path_away(tmp_path: Path) -> None:
    """CFLAGS of the manifest are kept and -ffile-prefix-map is added."""
    environment = HostEnvironment(tmp_path / "scratch", isolate=False)
    root = tmp_path / "root"
    root.mkdir()
    workspace = environment.create(root, {})

    command = BuildCommand(argv=["true"], cwd=str(root), log=root / "log", epoch=EPOCH, env={"CFLAGS": "-O1"})
    assert environment._environment(workspace, command)["CFLAGS"] == f"-O1 -ffile-prefix-map={root}=/build"


def test_a_build_that_eats_memory_is_stopped(environment: HostEnvironment, workspace: Workspace) -> None:
    """The declared memory bounds each process, with slack, so that a build cannot take the host down."""
    hungry = "python -c 'bytearray(9 << 30)'"

    with pytest.raises(CommandFailed) as caught:
        shell(environment, workspace, hungry, Limits(memory=64))

    assert "MemoryError" in caught.value.output


@pytest.mark.slow
def test_a_build_that_hangs_is_stopped(environment: HostEnvironment, workspace: Workspace) -> None:
    """The wall time is bounded."""
    with pytest.raises(CommandFailed, match="took longer than 1 s"):
        shell(environment, workspace, "sleep 60", Limits(wall_seconds=1))


def test_limits_are_enforced_by_prlimit() -> None:
    """The figures of the manifest reach the kernel in bytes and seconds."""
    line = prefix(Limits(memory=2048, cpu_seconds=10))

    assert line[:3] == ("prlimit", f"--data={8192 << 20}", "--cpu=10")


def test_a_damaged_build_requirement_is_named(tmp_path: Path) -> None:
    """A file that is no wheel ends in an error of ours that names it."""
    bad = tmp_path / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip archive")
    root = tmp_path / "root"
    root.mkdir()

    with pytest.raises(BuildEnvironmentError, match=r"bad-1\.0-py3-none-any\.whl does not install"):
        HostEnvironment(tmp_path / "scratch").create(root, {bad.name: bad})
