"""A bare Debian with a compiler to build in: a root file system, and an image of it for a podman of the tests' own.

Both are made once for all workers of a run.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bundler.buildenv.port import EnvironmentSpec
from bundler.model.target import Target, known_target
from tests.bare import ROOT

TARGET = known_target(f"debian-12-{platform.machine()}")
SUITE = "bookworm"
IMAGE = "localhost/bookworm-build:latest"
PACKAGES = ("gcc", "libc6-dev", "python3-dev")
#: Variables that the image sets, and where it has its Python besides: as manylinux does.
VARIABLES = {"PATH": "/opt/tools/bin:/usr/local/bin:/usr/bin:/bin", "TOOLS": "of-the-image"}
MANYLINUX = f"opt/python/{TARGET.python.tag}-{TARGET.python.tag}/bin/python{TARGET.python.version}"
#: What podman mounts is private to each call, so that nothing stays mounted. crun refuses hybrid cgroups: the unified
#: hierarchy is not shown to it. podman refuses long names of its directory for state.
_SCRIPT = """#!/bin/sh
exec unshare --mount sh -c '
    umount /sys/fs/cgroup/unified 2>/dev/null
    mount --bind "$0/run" /mnt && exec "$@"
' {state} {podman} --root {state}/storage --runroot /mnt "$@"
"""
#: podman knows no security options in the answer of ``info``.
_DOCKER = """#!/bin/sh
[ "$1" = info ] && echo '["name=seccomp,profile=builtin"]' && exit
exec {podman} "$@"
"""
_EMPTY = """#!/bin/sh
echo 'Error: image not known' >&2
exit 125
"""


@dataclass(frozen=True)
class Podman:
    """The directory with a ``podman`` to put before PATH, and the name of its image."""

    bin: Path
    image: str = IMAGE

    def spec(self, scratch: Path, target: Target = TARGET) -> EnvironmentSpec:
        return EnvironmentSpec(driver="container", target=target, scratch=scratch, image=self.image)

    @property
    def path(self) -> str:
        return f"{self.bin}{os.pathsep}{os.environ['PATH']}"

    def run(self, *argv: str) -> str:
        done = subprocess.run([str(self.bin / "podman"), *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"podman {shlex.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout


def make_build_root(shared: Path) -> Path:
    """Return the root file system of a Debian with a compiler below ``shared``, made by the first who asks."""
    root = shared / f"build-{SUITE}"
    with (shared / f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        link = root / MANYLINUX
        if not link.is_symlink():
            subprocess.run(["sh", str(ROOT / "scripts/make-rootfs"), SUITE, str(root), *PACKAGES], check=True)
            link.parent.mkdir(parents=True)
            link.symlink_to(TARGET.python.executable)
    return root


def make_podman(shared: Path) -> Podman:
    """Return podman with an image of that root file system below ``shared``, made by the first who asks."""
    podman = Podman(shared / "podman" / "bin")
    root = make_build_root(shared)
    with (shared / "podman.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "podman" / "ready").exists():
            _install(podman.bin, shared / "podman")
            _import(podman, root, shared / "podman" / f"{SUITE}.tar")
            (shared / "podman" / "ready").touch()
    return podman


def _install(place: Path, state: Path) -> None:
    place.mkdir(parents=True)
    (state / "run").mkdir()
    script = _SCRIPT.format(podman=shutil.which("podman"), state=shlex.quote(str(state)))
    (place / "podman").write_text(script)
    (place / "podman").chmod(0o755)


def _import(podman: Podman, root: Path, archive: Path) -> None:
    subprocess.run(["tar", "-C", str(root), "--one-file-system", "-cf", str(archive), "."], check=True)
    changes = [f"--change=ENV {name}={value}" for name, value in VARIABLES.items()]
    podman.run("import", "--quiet", *changes, str(archive), IMAGE)
    archive.unlink()


def docker_of(podman: Podman, place: Path) -> Podman:
    """Return a PATH where ``docker``, which is really podman, has the image: its command line is tried, no daemon."""
    place.mkdir()
    for name, script in (("docker", _DOCKER.format(podman=podman.bin / "podman")), ("podman", _EMPTY)):
        (place / name).write_text(script)
        (place / name).chmod(0o755)
    return Podman(place)
