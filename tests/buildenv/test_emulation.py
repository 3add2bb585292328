"""Whether programs of another architecture run here."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from bundler.buildenv.emulation import is_foreign, why_not
from bundler.model.target import known_target

ARM = known_target("debian-12-aarch64")
ENTRY = "{state}\ninterpreter /usr/libexec/qemu\nflags: {flags}\noffset 0\n"


@pytest.fixture
def binfmt(tmp_path: Path) -> Path:
    """A mounted binfmt_misc that knows nothing."""
    (tmp_path / "status").write_text("enabled\n")
    return tmp_path


def test_a_machine_runs_its_own_programs_only() -> None:
    """Other architectures are foreign."""
    assert [is_foreign(known_target(f"debian-12-{machine}")) for machine in ("x86_64", "aarch64")] == [
        platform.machine() != "x86_64",
        platform.machine() != "aarch64",
    ]


def test_an_emulator_that_the_kernel_holds_open_is_enough(binfmt: Path) -> None:
    """Registered, enabled, with the F flag."""
    (binfmt / "qemu-aarch64").write_text(ENTRY.format(state="enabled", flags="POF"))

    assert why_not(ARM, binfmt) is None


@pytest.mark.parametrize(
    ("state", "flags", "said"),
    [("enabled", "PO", "without the F flag"), ("disabled", "POF", "disabled")],
)
def test_an_emulator_of_no_use_is_told_apart(binfmt: Path, state: str, flags: str, said: str) -> None:
    """Each obstacle has its own words, and a command."""
    (binfmt / "qemu-aarch64").write_text(ENTRY.format(state=state, flags=flags))
    found = why_not(ARM, binfmt)

    assert found is not None
    assert said in found[0]
    assert found[1]


def test_no_emulator_and_no_binfmt_are_told_apart(binfmt: Path, tmp_path: Path) -> None:
    """One needs a package, the other a mount; the same script does both."""
    bare, unmounted = why_not(ARM, binfmt), why_not(ARM, tmp_path / "none")

    assert bare is not None
    assert unmounted is not None
    assert "not registered" in bare[0]
    assert "not mounted" in unmounted[0]
    assert "scripts/prepare-host" in bare[1]
