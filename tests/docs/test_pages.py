"""Pages fit together, and the project's files name no machine and no registry."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)
#: In brackets, so that this file does not hold what it looks for. "me" is nobody, in tests of exactly this.
_REGISTRIES = r"[p]ypi\.org|[p]ythonhosted\.org|[n]pmjs\.|[c]rates\.io|[d]ocker\.io"
_UNWANTED = re.compile(rf"{_REGISTRIES}|(?<![\w./$}}-])/(?:[r]oot|[w]ork|[h]ome(?!/me\b))/\w")


def _links(page: str) -> Iterator[str]:
    for link in _LINK.finditer(_CODE.sub("", page)):
        if "://" not in link["target"] and not link["target"].startswith("mailto:"):
            yield unquote(link["target"])


def _anchors(page: str) -> set[str]:
    texts = (heading["text"].lower() for heading in _HEADING.finditer(_CODE.sub("", page)))
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in texts}


def _pages(root: Path, tracked: tuple[str, ...]) -> dict[Path, str]:
    return {root / name: (root / name).read_text("utf-8") for name in tracked if name.endswith(".md")}


def test_every_link_leads_somewhere(root: Path, tracked: tuple[str, ...]) -> None:
    """Relative links of all pages lead to files and headings that exist."""
    pages = _pages(root, tracked)
    broken = []
    for path, page in pages.items():
        for link in _links(page):
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if not target.exists() or (anchor and anchor not in _anchors(pages.get(target, ""))):
                broken.append(f"{path.relative_to(root)}: {link}")

    assert not broken


def test_every_page_is_reached_from_the_index(root: Path, tracked: tuple[str, ...]) -> None:
    """No guide, reference or explanation page is forgotten in docs/README.md."""
    index = (root / "docs" / "README.md").read_text("utf-8")
    listed = {(root / "docs" / link).resolve() for link in _links(index)}
    parts = ("docs/guide/", "docs/reference/", "docs/explanation/")
    wanted = {root / name for name in tracked if name.startswith(parts) and not name.endswith("/README.md")}

    assert not {str(path.relative_to(root)) for path in wanted - listed}


def test_decisions_are_numbered_and_short(root: Path, tracked: tuple[str, ...]) -> None:
    """Each decision has its own number, repeats it in its title, and takes two minutes."""
    names = sorted(name for name in tracked if name.startswith("docs/decisions/"))
    numbers = [Path(name).name[:4] for name in names]

    assert numbers == [f"{number:04}" for number in range(1, len(names) + 1)]
    for name, number in zip(names, numbers, strict=True):
        lines = (root / name).read_text("utf-8").splitlines()
        assert lines[0].startswith(f"# {number} "), name
        assert len(lines) <= 25, name


def test_generated_pages_are_current(root: Path) -> None:
    """What docs/reference says is what the code says, whatever the width of the terminal."""
    done = subprocess.run(
        [sys.executable, "scripts/reference", "--check"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "50", "LC_ALL": "C.UTF-8"},
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_an_old_page_is_noticed(root: Path, tmp_path: Path) -> None:
    """--check fails, and names the page, where a generated page was edited."""
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    for name in ("manifest", "site", "commands", "exit-codes"):
        text = (root / "docs" / "reference" / f"{name}.md").read_text("utf-8")
        (tmp_path / "docs" / "reference" / f"{name}.md").write_text(text + ("x" if name == "commands" else ""))
    (tmp_path / "scripts" / "reference").write_bytes((root / "scripts" / "reference").read_bytes())
    (tmp_path / "bundler").symlink_to(root / "bundler")

    done = subprocess.run(
        [sys.executable, "scripts/reference", "--check"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, "docs/reference/commands.md is old: make docs\n")


def test_no_file_names_a_machine_or_a_registry(root: Path, tracked: tuple[str, ...]) -> None:
    """Where packages come from is the user's configuration, and paths of one machine help nobody."""
    found = []
    for name in tracked:
        text = (root / name).read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if _UNWANTED.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")

    assert not found
