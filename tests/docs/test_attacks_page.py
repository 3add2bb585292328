"""The page of attacks names tests that exist and exit codes that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bundler import errors

_TEST = re.compile(r"`(?P<file>[\w/]+\.py)::(?P<name>test_\w+)`")


@pytest.fixture(scope="module")
def rows(root: Path) -> list[list[str]]:
    text = (root / "docs" / "explanation" / "attacks.md").read_text("utf-8")
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in found if row[0] != "attack" and not row[0].startswith("---")]


def _tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_attack_has_a_test_that_exists(root: Path, rows: list[list[str]]) -> None:
    """Each row names a test by file and function."""
    wrong = []
    for attack, *_, shown in rows:
        match = _TEST.fullmatch(shown)
        if match is None or match["name"] not in _tests(root / "tests" / match["file"]):
            wrong.append(f"{attack}: {shown}")

    assert not wrong


def test_every_refusal_has_a_code_that_there_is(rows: list[list[str]]) -> None:
    """Codes are those of errors that exist, and where a row names its error, of that one."""
    codes = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.BundlerError)
    }
    wrong = []
    for attack, refusal, code, _ in rows:
        numbers = {int(number) for number in re.findall(r"\d+", code)}
        named = {codes[name] for name in re.findall(r"`([A-Z]\w+)`", refusal) if name in codes}
        if not numbers <= {0, *codes.values()} or not named <= numbers or (not numbers and code != "–"):  # noqa: RUF001
            wrong.append(f"{attack}: {code}")

    assert not wrong
    assert len(rows) > 27 + 10
