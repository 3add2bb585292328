"""Every command that a page has its reader type works, in order, from a fresh clone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "guide").glob("*.md"))]
#: Would run this very test.
NOT_HERE = ("make test",)
_FENCE = re.compile(r"^```(?P<language>[a-z]*)(?: file=(?P<file>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A file that a page has its reader write, or a command that it has them type."""

    file: str = ""
    text: str = ""

    def __str__(self) -> str:
        return self.file or self.text


def steps(page: str) -> Iterator[Step]:
    """Yield the files and commands of a page, in order."""
    for fence in _FENCE.finditer(page):
        if fence["file"]:
            yield Step(file=fence["file"], text=fence["body"])
        elif fence["language"] == "console":
            for line in fence["body"].replace("\\\n", "").splitlines():
                if line.startswith("$ "):
                    yield Step(text=line[2:])


@dataclass(frozen=True)
class Reader:
    """Somebody with a fresh clone who types what a page says."""

    clone: Path
    home: Path

    def follow(self, step: Step) -> None:
        if step.file:
            path = self.clone / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text)
            return
        done = subprocess.run(
            ["bash", "-c", step.text], cwd=self.clone, env=self._env(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"$ {step.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"

    def _env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BUNDLE_", "XDG_"))}
        path = os.pathsep.join([str(self.clone / ".venv" / "bin"), os.environ["PATH"]])
        return {**kept, "HOME": str(self.home), "PATH": path}


def _home(base: Path) -> Path:
    """Return a home that pages share: its store holds what an earlier page built; pip is configured as for us."""
    home = base / "documented-home"
    config = home / ".config"
    config.mkdir(parents=True, exist_ok=True)
    real = Path.home() / ".config"
    for tool in ("pip", "uv", "git"):
        _show(real / tool, config / tool)
    _show(Path.home() / ".netrc", home / ".netrc")
    return home


def _show(real: Path, place: Path) -> None:
    if real.exists():
        # Another worker may have been faster.
        with contextlib.suppress(FileExistsError):
            place.symlink_to(real)


@pytest.fixture
def reader(tracked: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    clone = tmp_path / "clone"
    for name in tracked:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    (clone / ".venv").symlink_to(Path(sys.executable).parent.parent)
    # Newer than all that it is made from: make need not make the environment again.
    (clone / ".stamps").mkdir()
    (clone / ".stamps" / "environment").touch()
    base = tmp_path_factory.getbasetemp()
    return Reader(clone, _home(base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base))


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_as_it_stands(reader: Reader, page: str) -> None:
    """A reader who types the page's commands, one after the other, sees none of them fail."""
    for step in steps((ROOT / page).read_text("utf-8")):
        if step.text not in NOT_HERE:
            reader.follow(step)


def test_pages_have_steps() -> None:
    """Commands and files are found in pages: the test above runs something."""
    page = "```yaml file=a.yaml\nx: 1\n```\n```console\n$ one \\\n  two\noutput\n$ three\n```\n```\n$ no\n```\n"

    assert [str(step) for step in steps(page)] == ["a.yaml", "one   two", "three"]
    for name in PAGES:
        assert list(steps((ROOT / name).read_text("utf-8"))), name
