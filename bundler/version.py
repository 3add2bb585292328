"""Which version of the product this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files


def own_version() -> str:
    """Return our version: from the installed package, or from the file that the installer carries."""
    carried = files("bundler").joinpath("version.txt")
    if carried.is_file():
        return carried.read_text("utf-8").strip()
    try:
        return version("offline-bundler")
    except PackageNotFoundError:
        return "0"
