"""Build requirements into a build venv, from this process: nothing of the target runs, and no pip is needed there."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.exceptions import InstallerError
from installer.records import RecordEntry
from installer.sources import WheelFile
from installer.utils import Scheme

from bundler.buildenv.port import VENV, Workspace
from bundler.errors import BuildEnvironmentError
from bundler.files import room_for


def install_wheels(wheels: Mapping[str, Path], workspace: Workspace, version: str) -> None:
    """Install ``wheels`` (file name → file) into the workspace's venv, which is of Python ``version`` (``3.11``).

    Raises:
        BuildEnvironmentError: A wheel does not install; the message names it.
    """
    for filename in sorted(wheels):
        _install(filename, wheels[filename], workspace, version)


class _Destination(SchemeDictionaryDestination):
    """A destination that gives fixed modes: installer itself flips the umask of the whole process."""

    def write_to_fs(self, scheme: Scheme, path: str, stream: BinaryIO, is_executable: bool) -> RecordEntry:
        entry = super().write_to_fs(scheme, path, stream, is_executable=False)
        self._path_with_destdir(scheme, path).chmod(0o755 if is_executable else 0o644)
        return entry


def _destination(workspace: Workspace, distribution: str, version: str) -> _Destination:
    venv = workspace.root / VENV
    site = str(venv / "lib" / f"python{version}" / "site-packages")
    scheme = {
        "purelib": site,
        "platlib": site,
        "scripts": str(venv / "bin"),
        "data": str(venv),
        "headers": str(venv / "include" / "site" / f"python{version}" / distribution),
    }
    return _Destination(scheme, interpreter=workspace.python, script_kind="posix", overwrite_existing=True)


def _install(filename: str, path: Path, workspace: Workspace, version: str) -> None:
    try:
        with room_for(workspace.root), zipfile.ZipFile(path) as archive:
            archive.filename = filename
            wheel = WheelFile(archive)
            install(wheel, _destination(workspace, wheel.distribution, version), additional_metadata={})
    except (InstallerError, zipfile.BadZipFile, OSError, ValueError, KeyError, AssertionError) as error:
        raise BuildEnvironmentError(
            f"build requirement {filename} does not install: {error}", hint="its wheel is damaged; fetch it again"
        ) from error
