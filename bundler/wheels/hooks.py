"""Calls the hooks of a source's build backend (PEP 517) inside a build environment."""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller, BuildBackendWarning, HookMissing

from bundler.buildenv.limits import Limits
from bundler.buildenv.port import BuildCommand, BuildEnvironment, Workspace
from bundler.errors import CommandFailed, WheelBuildFailed
from bundler.model.manifest import PackageBuild
from bundler.process import tail
from bundler.wheels.requirements import BuildSystem, read_build_system
from bundler.wheels.sdist import is_inside
from bundler.wheels.source import SourceTree

TAIL_LINES = 20
_LARGEST_ANSWER = 16 << 20
#: What to do about a build that memory did not suffice for.
OUT_OF_MEMORY = (
    "out of memory: raise build.packages.{name}.memory in the manifest, so that less runs beside it, "
    "or let fewer builds run at once (--workers)"
)
#: How tools say so. A compiler that the kernel killed says nothing; who started it does.
_OUT_OF_MEMORY_SIGNS = (
    "Cannot allocate memory",
    "Killed signal terminated program",
    "LLVM ERROR: out of memory",
    "MemoryError",
    "memory exhausted",
    "out of memory allocating",
    "signal: 9, SIGKILL",
    "std::bad_alloc",
)
#: SIGKILL, as a parent sees it and as a shell or bubblewrap passes it on: the kernel's answer to too little memory.
_KILLED = (-9, 128 + 9)
#: What a line of a log means, and what to do. Debian's names; the hint says so.
_HINTS = (
    ("Python.h: No such file", "apt-get install python3-dev"),
    ("pkg-config: not found", "apt-get install pkg-config"),
    ("pkg-config is required", "apt-get install pkg-config"),
    (
        "in the pkg-config search path",
        "install the library's -dev package, and name it in distro_packages.build of the venv",
    ),
    (
        "access to an upstream git repository",
        "name git in distro_packages.build of the venv, and use a repository that has its tags",
    ),
    ("gcc: not found", "apt-get install build-essential"),
    ("command 'gcc' failed: No such file", "apt-get install build-essential"),
    ("cc' failed: No such file", "apt-get install build-essential"),
    ("g++' failed: No such file", "apt-get install build-essential"),
    ("can't find Rust compiler", "apt-get install cargo"),
    (
        "Temporary failure in name resolution",
        "builds have no network; bring what it downloads as a build requirement",
    ),
    ("No module named", "name the missing module's package in build.packages.{name}.requires of the manifest"),
)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The build backend of ``tree``, called in ``workspace``; everything it prints goes to ``log``."""

    what: str
    environment: BuildEnvironment
    workspace: Workspace
    tree: SourceTree
    log: Path
    settings: PackageBuild = field(default_factory=PackageBuild)

    @cached_property
    def system(self) -> BuildSystem:
        """Return [build-system], read before the first hook runs."""
        return read_build_system(self.tree.project)

    def requires(self) -> tuple[str, ...]:
        """Return what ``get_requires_for_build_wheel`` asks for beyond the static requirements."""
        found = self._call("get_requires_for_build_wheel")
        if not isinstance(found, list) or not all(isinstance(line, str) for line in found):
            raise self._failed("its backend's build requirements are no list of strings")
        return tuple(found)

    def metadata(self) -> bytes:
        """Return the core metadata: from ``prepare_metadata_for_build_wheel``, else from a wheel built for it."""
        folder = self.workspace.output / "metadata"
        folder.mkdir(exist_ok=True)
        try:
            name = self._call(
                "prepare_metadata_for_build_wheel", self.workspace.inside(folder), _allow_fallback=False
            )
        except HookMissing:
            return self._metadata_of_wheel(self.wheel())
        return self._result(folder / self._plain(name) / "METADATA", _LARGEST_ANSWER).read_bytes()

    def _metadata_of_wheel(self, wheel: Path) -> bytes:
        try:
            with zipfile.ZipFile(wheel) as archive:
                infos = [info for info in archive.infolist() if info.filename.endswith(".dist-info/METADATA")]
                if len(infos) != 1 or infos[0].file_size > _LARGEST_ANSWER:
                    raise self._failed(f"the wheel {wheel.name} has no usable METADATA")
                return archive.read(infos[0])
        except (zipfile.BadZipFile, OSError) as error:
            raise self._failed(f"the wheel {wheel.name} is no zip archive: {error}") from error

    def wheel(self) -> Path:
        """Build the wheel and return its path on this host."""
        name = self._plain(self._call("build_wheel", self.workspace.inside(self.workspace.output)))
        if not name.endswith(".whl"):
            raise self._failed(f"its backend says that it built {name!r}, which is no wheel")
        return self._result(self.workspace.output / name)

    def _plain(self, name: Any) -> str:
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise self._failed(f"its backend names its result {name!r}")
        return name

    def _call(self, hook: str, *args: str, **options: bool) -> Any:
        warnings.filterwarnings("ignore", category=BuildBackendWarning)
        system = self.system
        try:
            caller = BuildBackendHookCaller(
                self.workspace.inside(self.tree.project),
                system.backend,
                system.backend_path or None,
                runner=self._run,
                python_executable=self.workspace.python,
            )
            settings = dict(self.settings.config_settings) or None
            return getattr(caller, hook)(*args, config_settings=settings, **options)
        except CommandFailed as error:
            raise self._ended(hook, error) from error
        except BackendUnavailable as error:
            raise self._failed(
                f"its backend {system.backend} cannot be imported: {error}", str(error.traceback)
            ) from error
        except (OSError, ValueError) as error:
            raise self._failed(f"{hook} failed: {error}") from error

    def _run(
        self, cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
    ) -> None:
        """Run a hook's process: its script and control directory are copied in and out of the private tree."""
        python, script, hook, control = cmd
        private = Path(tempfile.mkdtemp(prefix="hook-", dir=self.workspace.root))
        shutil.copyfile(script, private / "hook.py")
        shutil.copyfile(Path(control) / "input.json", private / "input.json")
        command = BuildCommand(
            argv=[python, self.workspace.inside(private / "hook.py"), hook, self.workspace.inside(private)],
            cwd=str(cwd),
            log=self.log,
            epoch=self.tree.epoch,
            env={**self.settings.env, **(extra_environ or {})},
            limits=Limits(memory=self.settings.memory),
        )
        self.environment.run(self.workspace, command)
        shutil.copyfile(self._result(private / "output.json", _LARGEST_ANSWER), Path(control) / "output.json")

    def _result(self, path: Path, largest: int = sys.maxsize) -> Path:
        """Return ``path``, which the build was to leave: a plain file inside the private tree, not too large."""
        if not is_inside(path, self.workspace.root) or not path.is_file() or path.stat().st_size > largest:
            raise self._failed(f"its backend left no usable {path.name}")
        return path

    def _ended(self, hook: str, error: CommandFailed) -> WheelBuildFailed:
        if error.returncode in _KILLED:
            return self._failed(f"{hook} was killed (status {error.returncode})", hint=OUT_OF_MEMORY)
        return self._failed(f"{hook} failed: {error.message}" if error.returncode < 0 else f"{hook} failed")

    def _failed(self, why: str, extra: str = "", hint: str = "") -> WheelBuildFailed:
        text = (tail(self.log).decode("utf-8", "replace") if self.log.is_file() else "") + extra
        lines = text.rstrip().splitlines()[-TAIL_LINES:]
        shown = "".join(f"\n  | {line}" for line in lines)
        advice = (hint or _advice(text)).format(name=self.what.split()[0])
        where = f"log: {self.log}"
        return WheelBuildFailed(f"{self.what}: {why}{shown}", hint=f"{advice}; {where}" if advice else where)


def _advice(text: str) -> str:
    """Return what to do about a build whose log ends with ``text``, or nothing."""
    if any(sign in text for sign in _OUT_OF_MEMORY_SIGNS):
        return OUT_OF_MEMORY
    return next((advice for sign, advice in _HINTS if sign in text), "")
