"""The script that runs on a repo host: its parts, and verify.sh, in one text."""

from __future__ import annotations

import functools
import shlex
from importlib.resources import files

_PARTS = ("10-base.sh", "20-intake.sh", "30-admit.sh", "40-activate.sh", "50-look.sh")
_PUSH = _PARTS[:2]
_MAIN = "90-main.sh"


def full_text() -> str:
    """Return the script as a file for a host where logins are restricted to it."""
    return "#!/bin/sh\n" + _text(*_PARTS) + _verify(_verify_script()) + _text(_MAIN)


@functools.cache
def short_text(role: str = "both") -> str:
    """Return the same without comments, blank lines and indentation: what is sent at the start of a conversation.

    For the role ``push`` it is but what takes content: nothing of it checks or activates.
    """
    if role == "push":
        return _short(_text(*_PUSH, _MAIN))
    return _short(_text(*_PARTS)) + _verify(_short(_verify_script())) + _short(_text(_MAIN))


def _text(*names: str) -> str:
    place = files("bundler.repohost").joinpath("data")
    return "".join(place.joinpath(name).read_text("utf-8") for name in names)


def _verify_script() -> str:
    return files("bundler.bundle").joinpath("data").joinpath("verify.sh").read_text("utf-8")


def _verify(script: str) -> str:
    return f"verify_sh={shlex.quote(script)}\n"


def _short(text: str) -> str:
    lines = (line.lstrip(" ") for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))
