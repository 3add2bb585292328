"""Which wheels `bundle-install` carries: those of the locked requirements, for all of its platforms."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import EnvironmentProblem
from bundler.model.index import IndexConfig
from bundler.store.cas import Store
from bundler.workflows.installer import LEFT_OUT, REQUIREMENTS, platforms
from bundler.workflows.installer_wheels import carried_tags, fetch_wheels, place, read_pins
from tests.looking.conftest import make_wheel

PINS = """\
# a comment
demo==1.0 ; python_full_version < '3.14' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
Other.Name==2  # why
"""


def test_lines_go_on_after_a_backslash() -> None:
    """Name, marker and hashes of each line are read as uv writes them."""
    first, second = read_pins(PINS)

    assert first.name == "demo"
    assert first.digests == {"aa", "bb"}
    assert second.name == "other-name"
    assert not second.digests
    assert [target.python.version for target in platforms() if not first.applies_to(target)] == ["3.14", "3.14"]


def test_every_line_of_the_locked_file_is_exact_and_has_hashes() -> None:
    """Nothing is chosen at build time but the file for a platform."""
    pins = list(read_pins(REQUIREMENTS.read_text("utf-8")))

    assert len(pins) > 10
    assert {pin.name for pin in pins} >= {"click", "cryptography", "paramiko", "pyyaml", "rich", *LEFT_OUT}
    assert all(str(pin.requirement.specifier).startswith("==") and pin.digests for pin in pins)


def test_one_wheel_with_a_stable_abi_serves_every_python() -> None:
    """The tags of newer stable ABIs are left out, so that no second wheel of a package is carried for them."""
    tags = {str(tag).split("-manylinux")[0] for tag in carried_tags(platforms()[-1]) if tag.abi == "abi3"}

    assert "cp310-abi3" in tags
    assert "cp311-abi3" not in tags


def test_wheels_with_the_locked_hash_are_fetched_and_placed_by_name(tmp_path: Path) -> None:
    """What pex gets is a directory of files with the names of wheels."""
    wheel = make_wheel("demo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / wheel.filename).write_bytes(wheel.data)
    store, indexes = Store(tmp_path / "store"), IndexConfig(folders=(tmp_path / "folder",))
    pins = list(read_pins(f"demo==1.0 --hash=sha256:{wheel.digest}"))
    chosen = fetch_wheels(pins, platforms(), indexes, store)
    place(chosen, store, tmp_path / "placed")

    assert (tmp_path / "placed" / wheel.filename).read_bytes() == wheel.data


def test_a_wheel_with_another_hash_does_not_count(tmp_path: Path) -> None:
    """The index has the version, but not the file that was locked: it is named."""
    wheel = make_wheel("demo")
    (tmp_path / wheel.filename).write_bytes(wheel.data)
    pins = list(read_pins(f"demo==1.0 --hash=sha256:{'0' * 64}"))

    with pytest.raises(EnvironmentProblem, match="no wheel of demo") as caught:
        fetch_wheels(pins, platforms()[:1], IndexConfig(folders=(tmp_path,)), Store(tmp_path / "store"))
    assert "mirror" in caught.value.hint
