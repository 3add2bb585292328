"""Several targets in one lock: each takes the files of its own system, and all that is missing is said at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bundler.errors import ResolutionFailed
from bundler.model.lock import Artifact, Lock
from bundler.store.cas import Store
from bundler.workflows.lock import LockRequest, LockResult, lock

OLD, NEW, ARM = "debian-12-x86_64", "debian-13-x86_64", "debian-12-aarch64"


def locked(root: Path, index: Any, venvs: dict[str, Any], **more: Any) -> LockResult:
    document = {
        "schema": 1,
        "seed_packages": [],
        "release": {"name": "test", "version": "1"},
        "targets": [OLD, NEW, ARM],
        "default_packages": [],
        "indexes": [{"name": "local", "url": index.url}],
        "venvs": {name: {"path": f"/opt/{name}", **venv} for name, venv in venvs.items()},
        **more,
    }
    (root / "release.yaml").write_text(yaml.safe_dump(document))
    return lock(LockRequest(manifest=root / "release.yaml", store=Store(root / "store")))


def files(found: Lock, name: str) -> dict[str, str]:
    origins = {venv.target: one.origin for venv in found.venvs for one in venv.packages if one.name == name}
    return {target: origin.name for target, origin in origins.items() if isinstance(origin, Artifact)}


def test_each_target_takes_the_wheel_of_its_own_c_library(tmp_path: Path, index: Any) -> None:
    """A wheel for a newer glibc goes to the system that has it, the older level to the others, by architecture."""
    for platform in (
        "manylinux_2_38_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux_2_28_aarch64",
        "musllinux_1_2_x86_64",
    ):
        index.wheel("native", "1.0", tag=f"cp39-abi3-{platform}")

    found = locked(tmp_path, index, {"web": {"packages": ["native"]}}).lock

    assert files(found, "native") == {
        OLD: "native-1.0-cp39-abi3-manylinux_2_17_x86_64.whl",
        NEW: "native-1.0-cp39-abi3-manylinux_2_38_x86_64.whl",
        ARM: "native-1.0-cp39-abi3-manylinux_2_28_aarch64.whl",
    }


def test_each_target_takes_the_wheel_of_its_own_python(tmp_path: Path, index: Any) -> None:
    """The default Python of the distribution decides between wheels."""
    index.wheel("native", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64")
    index.wheel("native", "1.0", tag="cp313-cp313-manylinux_2_17_x86_64")

    found = locked(tmp_path, index, {"web": {"packages": ["native"], "targets": {ARM: {"skip": True}}}}).lock

    assert files(found, "native") == {
        OLD: "native-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        NEW: "native-1.0-cp313-cp313-manylinux_2_17_x86_64.whl",
    }


def test_all_that_is_missing_is_said_before_anything_is_fetched(tmp_path: Path, index: Any) -> None:
    """Files that targets lack are named over all venvs, groups and targets; the store and the lock stay empty."""
    index.wheel("fine", "1.0")
    index.wheel("one", "1.0", tag="cp39-abi3-manylinux_2_17_x86_64")
    index.wheel("two", "1.0", tag="cp39-abi3-manylinux_2_38_x86_64")
    index.wheel("three", "1.0", tag="cp313-cp313-manylinux_2_17_aarch64")
    own = {"mode": "replace", "layers": []}
    venvs = {"web": {"packages": ["one", "two", "fine"]}, "api": {"packages": ["three"], "constraints": own}}

    with pytest.raises(ResolutionFailed, match="neither as a wheel nor as a source") as caught:
        locked(tmp_path, index, venvs, constraints=[{"name": "pins", "lines": ["fine==1.0"]}])

    assert [problem.where for problem in caught.value.problems] == [
        f"one 1.0 on {ARM}",
        f"three 1.0 on {ARM}",
        f"three 1.0 on {OLD}",
        f"three 1.0 on {NEW}",
        f"two 1.0 on {ARM}",
        f"two 1.0 on {OLD}",
    ]
    assert not (tmp_path / "release.lock").exists()
    assert [path for path in (tmp_path / "store").glob("blobs/*/*") if path.is_file()] == []
