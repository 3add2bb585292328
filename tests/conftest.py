"""What every test shares: groups that need something of the host are probed, and skipped with a reason.

With BUNDLE_TEST_REQUIRE=network,isolation,native,sshd,rootfs,container,browser a group that cannot run fails instead:
CI sets it.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@functools.cache
def _no_isolation() -> str:
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed: apt-get install bubblewrap"
    probe = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, check=False, text=True
    )
    return "" if probe.returncode == 0 else f"bubblewrap cannot make namespaces here: {probe.stderr.strip()}"


@functools.cache
def _no_network() -> str:
    probe = subprocess.run(
        ["uv", "pip", "compile", "--no-config", "--no-deps", "-q", "-"],
        input="iniconfig\n",
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    return "" if probe.returncode == 0 else f"no package index can be reached: {probe.stderr.strip()[-200:]}"


@functools.cache
def _no_compiler() -> str:
    if shutil.which("cc") is None:
        return "no C compiler: apt-get install build-essential"
    include = subprocess.run(
        ["/usr/bin/python3", "-c", "import sysconfig; print(sysconfig.get_paths()['include'])"],
        capture_output=True,
        check=False,
        text=True,
    ).stdout.strip()
    return "" if (Path(include) / "Python.h").is_file() else "no Python headers: apt-get install python3-dev"


@functools.cache
def _no_sshd() -> str:
    return "" if Path("/usr/sbin/sshd").is_file() else "no SSH server: apt-get install openssh-server"


@functools.cache
def _no_rootfs() -> str:
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed: apt-get install mmdebstrap"
    return _no_isolation() if os.geteuid() == 0 else "making a root file system needs root"


@functools.cache
def _no_container() -> str:
    if shutil.which("podman") is None:
        return "podman is not installed: apt-get install podman"
    return _no_rootfs()


@functools.cache
def _no_browser() -> str:
    absent = [tool for tool in ("chromium", "chromedriver") if shutil.which(tool) is None]
    return f"no {' and '.join(absent)}: apt-get install chromium chromium-driver" if absent else ""


GROUPS: dict[str, Callable[[], str]] = {
    "browser": _no_browser,
    "container": _no_container,
    "isolation": _no_isolation,
    "network": _no_network,
    "native": _no_compiler,
    "rootfs": _no_rootfs,
    "sshd": _no_sshd,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose group cannot run here, or fail it where the group is required."""
    required = os.environ.get("BUNDLE_TEST_REQUIRE", "").split(",")
    for group, probe in GROUPS.items():
        if item.get_closest_marker(group) is None:
            continue
        reason = probe()
        if reason and group in required:
            pytest.fail(f"the group {group} must run: {reason}")
        if reason:
            pytest.skip(f"{group}: {reason}")


@pytest.fixture(autouse=True, scope="session")
def _signals_arrive() -> None:
    """Whoever runs the tests may ignore signals (nohup, a background shell), and children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _own_user_directories(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's keys and store, but leave pip's, uv's and git's configuration in place."""
    real = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    own = tmp_path_factory.mktemp("config")
    for tool in ("pip", "uv", "git"):
        if (real / tool).is_dir():
            (own / tool).symlink_to(real / tool)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own))
    monkeypatch.delenv("BUNDLE_STORE", raising=False)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
