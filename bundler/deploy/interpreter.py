"""Does this host have the Python that a venv was made for?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bundler.errors import CommandFailed, UnpackFailed
from bundler.process import Command, run

_ASK = "import sys; print('%d.%d' % sys.version_info[:2])"


def check_interpreter(executable: str, version: str, packages: Sequence[str] = ()) -> None:
    """Refuse a venv whose Python is not here: bytecode and extensions fit one minor version only.

    Raises:
        UnpackFailed: It is missing or of another version; the hint names what to install.
    """
    minor = ".".join(version.split(".")[:2])
    found = _version(executable)
    if found != minor:
        wanted = " ".join(dict.fromkeys((f"python{minor}", *packages)))
        what = f"is Python {found}" if found else "is not installed, or does not start"
        raise UnpackFailed(
            f"the venv wants Python {minor} as {executable}, which {what}",
            hint=f"apt-get install {wanted}; or is this the archive of another target?",
        )


def _version(executable: str) -> str:
    if not Path(executable).is_file():
        return ""
    try:
        return run(Command(argv=[executable, "-I", "-S", "-c", _ASK], env={}), timeout=60).text.strip()
    except CommandFailed:
        return ""
