"""Data of the 2026.1 release: deliverables, and what OpenStack-Ansible 33.0.1 pins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parent / "data"
CONSTRAINTS = Path(__file__).resolve().parent.parent.parent / "manifests" / "constraints"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a copy of all data, as somebody has it who makes a manifest."""
    shutil.copytree(DATA, tmp_path, dirs_exist_ok=True)
    for name in ("upper-constraints-2026.1.txt", "osa-pins-33.0.1.txt"):
        shutil.copy(CONSTRAINTS / name, tmp_path / name)
    return tmp_path
