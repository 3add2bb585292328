"""The throw-away root that a venv is proved in, and what is used where namespaces are not to be had.

With bubblewrap: an empty read-only root that holds the system's programs and libraries, a handful of files of
``/etc``, the venv at its own install path, no network, nobody's home. Else ``unshare -n`` for the network alone,
else nothing; :attr:`Isolation.unisolated` says what is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from bundler.buildenv import bubblewrap
from bundler.errors import CommandFailed
from bundler.process import Command, run, which

Kind: TypeAlias = Literal["root", "network", "none"]

#: Where a proved command may write, inside.
HOME = "/tmp"  # noqa: S108  # a private tmpfs of the throw-away root
#: What every proved command sees of the environment, before the venv's PATH.
ENVIRONMENT: Mapping[str, str] = {"HOME": HOME, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "TZ": "UTC"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USER = "1000"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
#: What programs of a distribution read of /etc; no key, password, host name or proxy is among it.
_CONFIGURATION = (
    "/etc/alternatives",
    "/etc/crypto-policies",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/pki/tls/openssl.cnf",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/openssl.cnf",
)
#: Files that are written instead of shown: the same on every build host.
_GENERATED: Mapping[str, str] = {
    "/etc/group": f"root:x:0:\nservice:x:{_USER}:\n",
    "/etc/hosts": "127.0.0.1 localhost proof\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\nservice:x:{_USER}:{_USER}::{HOME}:/bin/sh\n",
}


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """How far proofs are kept apart from this host; ``unisolated`` names what is not."""

    kind: Kind
    unisolated: tuple[str, ...] = ()


#: From best to worst.
ROOT = Isolation(kind="root")
NETWORK = Isolation(kind="network", unisolated=("install path", "root"))
NONE = Isolation(kind="none", unisolated=("install path", "network", "root"))


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a proved command sees: the unpacked ``tree`` as the venv of ``install_path``.

    ``tools`` are further files or directories of this host, by the path that they have in the throw-away root;
    ``interpreter`` is the target's; ``scratch`` an empty directory beside the tree; ``system`` the root of the
    system that is shown, which needs isolation of kind ``root`` where it is not this host's.
    """

    tree: Path
    install_path: str
    interpreter: Path
    scratch: Path
    isolation: Isolation
    system: Path = bubblewrap.HOST
    tools: Mapping[str, Path] = field(default_factory=dict)

    @property
    def venv(self) -> str:
        """Return the path by which a command inside knows the venv."""
        return self.install_path if self.isolation.kind == "root" else str(self.tree)

    def tool(self, inside: str) -> str:
        """Return the path by which a command inside knows a tool."""
        return inside if self.isolation.kind == "root" else str(self.tools[inside])

    def command(self, argv: tuple[str, ...], stdin: bytes = b"") -> Command:
        """Return ``argv`` as a command that runs inside, in a clean environment."""
        env = {**ENVIRONMENT, "PATH": f"{self.venv}/bin:{SYSTEM_PATH}"}
        if self.isolation.kind == "root":
            return Command(argv=[*_bubblewrap(self), *argv], env=env, stdin=stdin)
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        env |= {"HOME": str(home), "TMPDIR": str(home)}
        prefix = [which("unshare"), "-rn", "--"] if self.isolation.kind == "network" else []
        return Command(argv=[*prefix, *argv], env=env, cwd=home, stdin=stdin)


def detect(scratch: Path) -> Isolation:
    """Return the best isolation that works here; ``scratch`` is an empty directory for the trial."""
    tree = scratch / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    for isolation, tool in ((ROOT, "bwrap"), (NETWORK, "unshare")):
        if shutil.which(tool) is None:
            continue
        room = Room(
            tree=tree,
            install_path="/proof/venv",
            interpreter=Path("/usr/bin/python3"),
            scratch=scratch,
            isolation=isolation,
        )
        try:
            run(room.command(("/bin/sh", "-c", ":")), timeout=30)
        except CommandFailed:
            continue
        return isolation
    return NONE


def _bubblewrap(room: Room) -> Iterator[str]:
    """Yield the command line up to the command: later mounts go over earlier ones."""
    yield from (which("bwrap"), "--unshare-all", "--unshare-user", "--uid", _USER, "--gid", _USER)
    yield from ("--hostname", "proof", "--die-with-parent", "--new-session")
    install_path = PurePosixPath(room.install_path)
    for place in _SYSTEM:
        yield from _system(room.system, PurePosixPath(place), install_path)
    if room.system == bubblewrap.HOST:
        yield from _interpreter(room.interpreter)
    for place in _CONFIGURATION:
        yield from ("--ro-bind-try", str(room.system / place[1:]), place)
    for place, content in _GENERATED.items():
        written = room.scratch / place.rpartition("/")[2]
        written.write_text(content, encoding="utf-8")
        yield from ("--ro-bind", str(written), place)
    yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", HOME, "--dir", "/var/tmp", "--dir", "/run")  # noqa: S108  # inside
    yield from ("--ro-bind", str(room.tree), room.install_path)
    for inside, path in room.tools.items():
        yield from ("--ro-bind", str(path), inside)
    yield from ("--remount-ro", "/", "--chdir", HOME, "--")


def _system(system: Path, place: PurePosixPath, install_path: PurePosixPath) -> Iterator[str]:
    """Yield the mounts that show ``place``; above the install path entry by entry, so that it can be made."""
    source = system / str(place)[1:]
    if place in install_path.parents and not source.is_symlink():
        yield from ("--dir", str(place))
        for entry in sorted(source.iterdir()):
            if place / entry.name != install_path:
                yield from _system(system, place / entry.name, install_path)
    else:
        yield from bubblewrap.show(system, str(place))


def _interpreter(interpreter: Path) -> Iterator[str]:
    """Yield the mount of an interpreter that is not the distribution's: its whole prefix."""
    prefix = interpreter.resolve().parent.parent
    if not any(prefix.is_relative_to(Path(place)) for place in _SYSTEM):
        yield from ("--ro-bind", str(prefix), str(prefix))
