"""Read a wheelhouse (a folder of files as `pip download` and `pip wheel` leave it) for adoption."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from bundler.model.adopt import Adopted

_SDISTS = (".tar.gz", ".zip")
_OTHER_ARCHIVES = (".egg", ".tar.bz2", ".tgz", ".tar.xz", ".exe", ".msi")


def adopt_wheelhouse(filenames: Iterable[str], folder: str) -> Adopted:
    """Return one pin for each project in the folder; ``folder`` is its path relative to the manifest."""
    adopted = Adopted(wheel_folders=[folder])
    found: dict[str, dict[Version, str]] = {}
    for filename in sorted(filenames):
        try:
            parsed = _parse(filename)
        except (InvalidWheelFilename, InvalidSdistFilename):
            adopted.refuse(f"{folder}/{filename}", "is not named as a wheel or source archive is")
            continue
        if parsed is not None:
            found.setdefault(parsed[0], {}).setdefault(parsed[1], filename)
            if filename.endswith(_SDISTS):
                adopted.note(f"{folder}/{filename}", "is no wheel: it is compiled if no index has a wheel of it")
        elif filename.endswith(_OTHER_ARCHIVES):
            adopted.refuse(f"{folder}/{filename}", "is of a kind that is not installed from", "make a wheel of it")
    for name, versions in sorted(found.items()):
        if len(versions) > 1:
            listed = ", ".join(str(version) for version in sorted(versions))
            adopted.refuse(folder, f"{name} is there in several versions: {listed}", "keep the one to be installed")
        else:
            adopted.add_package(f"{name}=={next(iter(versions))}")
    return adopted


def _parse(filename: str) -> tuple[str, Version] | None:
    """Return project and version; None for what is no distribution."""
    if filename.endswith(".whl"):
        name, version, _, _ = parse_wheel_filename(filename)
        return name, version
    if filename.endswith(_SDISTS):
        return parse_sdist_filename(filename)
    return None
