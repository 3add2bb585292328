"""Files that become something else in the moment between look and open."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.medium import open_medium
from bundler.errors import BundlerError

NAME = "README.txt"


def swapping(real: Callable[..., Any], path: Path, swap: Callable[[Path], object]) -> Callable[..., Any]:
    """Return a look at a file after which something else is in its place."""

    def look(name: Any, **options: Any) -> Any:
        found = real(name, **options)
        if name == NAME:
            path.unlink()
            swap(path)
        return found

    return look


SWAPS: dict[str, Callable[[Path], object]] = {
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "pipe": os.mkfifo,
    "directory": Path.mkdir,
}


@pytest.mark.parametrize("what", SWAPS)
def test_what_is_swapped_after_the_look_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A link is not followed, a pipe not waited for: what was opened is looked at once more."""
    with open_medium(bundle) as medium:
        monkeypatch.setattr(os, "stat", swapping(os.stat, bundle / NAME, SWAPS[what]))
        with pytest.raises(BundlerError) as caught:
            medium.open(NAME)
        monkeypatch.undo()

    assert (caught.value.rule, caught.value.exit_code) == ("FileIrregular", 66)
