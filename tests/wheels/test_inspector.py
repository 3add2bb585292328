"""What a source says of itself, with and without its backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from bundler.buildenv.host import HostEnvironment
from bundler.errors import WheelBuildFailed
from bundler.model.lock import Artifact, LockedPackage
from bundler.model.manifest import Build
from bundler.model.target import Target
from bundler.model.wheel import Wheel
from bundler.store.cas import Store
from bundler.wheels.inspector import SourceInspector
from bundler.wheels.metadata import static_metadata
from bundler.wheels.requirements import BuildSystem, read_build_system, static_requires
from bundler.wheels.source import Sources

MakeSdist: TypeAlias = Callable[..., LockedPackage]
PKG_INFO = "Metadata-Version: {version}\nName: demo\nVersion: 1.0\n{more}Requires-Dist: six\n\n"


@pytest.fixture
def asked() -> list[tuple[str, ...]]:
    return []


@pytest.fixture
def inspector(store: Store, environment: HostEnvironment, asked: list[tuple[str, ...]]) -> SourceInspector:
    """An inspector whose build venvs stay empty; ``asked`` records what they were to hold."""

    def wheels_for(requirements: tuple[str, ...], _target: Target) -> Sequence[Wheel]:
        asked.append(requirements)
        return ()

    return SourceInspector(
        sources=Sources(store=store, checkout=lambda *_: None, root=Path("/nowhere")),
        fetch=lambda _artifacts: None,
        environment=lambda _target: environment,
        wheels_for=wheels_for,
        settings=Build.model_validate({"packages": {"demo": {"requires": ["from-manifest"]}}}),
    )


def test_build_requirements_are_static_ones_those_of_the_manifest_and_of_the_hook(
    inspector: SourceInspector, target: Target, make_sdist: MakeSdist, asked: list[tuple[str, ...]]
) -> None:
    """The hook runs with the static ones installed and adds its own."""
    package = make_sdist(static=("setuptools>=1",), requires=("pbr>=2", "setuptools>=1"))

    assert inspector.build_requires(package, target) == ("setuptools>=1", "from-manifest", "pbr>=2")
    assert asked == [("setuptools>=1", "from-manifest")]


def test_metadata_is_asked_of_the_backend_with_all_requirements_installed(
    inspector: SourceInspector, target: Target, make_sdist: MakeSdist, asked: list[tuple[str, ...]]
) -> None:
    """What the source does not declare comes from prepare_metadata_for_build_wheel."""
    package = make_sdist(requires=("pbr",))

    assert b"Requires-Dist: dependency>=1\n" in inspector.metadata(package, target)
    assert asked[-1] == ("from-manifest", "pbr")


def test_a_backend_without_the_metadata_hook_builds_the_wheel_for_it(
    inspector: SourceInspector, target: Target, make_sdist: MakeSdist
) -> None:
    """prepare_metadata_for_build_wheel is optional (PEP 517)."""
    package = make_sdist(extra="del prepare_metadata_for_build_wheel, get_requires_for_build_wheel")

    assert b"Requires-Dist: dependency>=1\n" in inspector.metadata(package, target)


def test_answers_are_remembered(
    inspector: SourceInspector, store: Store, target: Target, make_sdist: MakeSdist
) -> None:
    """The second time nothing is unpacked or run: the source need not even be there."""
    package = make_sdist(requires=("pbr",))
    first = (inspector.metadata(package, target), inspector.build_requires(package, target))
    assert isinstance(package.origin, Artifact)
    store.path(package.origin.sha256).unlink()

    assert (inspector.metadata(package, target), inspector.build_requires(package, target)) == first


def test_static_metadata_needs_no_build_venv(
    inspector: SourceInspector, target: Target, make_sdist: MakeSdist, asked: list[tuple[str, ...]]
) -> None:
    """An sdist of metadata 2.2 that declares its dependencies static is only read."""
    text = PKG_INFO.format(version="2.2", more="Dynamic: License-File\n")
    package = make_sdist(files={"PKG-INFO": text.encode()})

    assert inspector.metadata(package, target) == text.encode()
    assert asked == []


@pytest.mark.parametrize(
    ("version", "more", "trusted"),
    [
        ("2.2", "", True),
        ("2.4", "Dynamic: Summary\n", True),
        ("2.1", "", False),
        ("2.2", "Dynamic: Requires-Dist\n", False),
        ("2.2", "Dynamic: version\n", False),
        ("2.2", "Dynamic: Provides-Extra\n", False),
        ("rubbish", "", False),
    ],
)
def test_pkg_info_is_trusted_where_pep_643_says_so(tmp_path: Path, version: str, more: str, *, trusted: bool) -> None:
    """Version 2.2 or later, and nothing that a resolver reads dynamic."""
    (tmp_path / "PKG-INFO").write_text(PKG_INFO.format(version=version, more=more))

    assert (static_metadata(tmp_path) is not None) is trusted


def test_a_static_project_table_gives_metadata(tmp_path: Path) -> None:
    """PEP 621 with nothing dynamic that matters: dependencies and extras become Requires-Dist."""
    (tmp_path / "pyproject.toml").write_text(
        """
        [project]
        name = "demo"
        version = "1.0"
        requires-python = ">=3.9"
        dynamic = ["description"]
        dependencies = ["six>=1; python_version < '4'"]
        [project.optional-dependencies]
        fast = ["cython", "numpy; os_name == 'posix' or os_name == 'nt'"]
        """
    )
    text = (static_metadata(tmp_path) or b"").decode()

    assert text.splitlines()[:4] == ["Metadata-Version: 2.2", "Name: demo", "Version: 1.0", "Requires-Python: >=3.9"]
    assert 'Requires-Dist: six>=1; python_version < "4"' in text
    assert "Provides-Extra: fast" in text
    assert 'Requires-Dist: numpy; (os_name == "posix" or os_name == "nt") and extra == "fast"' in text


@pytest.mark.parametrize("dynamic", ["version", "dependencies", "optional-dependencies"])
def test_a_dynamic_project_table_gives_none(tmp_path: Path, dynamic: str) -> None:
    """What is dynamic must be asked of the backend."""
    project = f'[project]\nname = "demo"\nversion = "1.0"\ndynamic = ["{dynamic}"]\n'
    (tmp_path / "pyproject.toml").write_text(project)

    assert static_metadata(tmp_path) is None


def test_a_source_without_build_system_is_built_with_setuptools(tmp_path: Path) -> None:
    """The defaults of PEP 517, and wheel for the sake of old setuptools."""
    assert read_build_system(tmp_path) == BuildSystem()
    assert static_requires(tmp_path) == ("setuptools>=40.8.0", "wheel")


def test_all_faults_of_a_build_system_are_reported(tmp_path: Path) -> None:
    """Wrong types and requirements that do not parse, each with its place."""
    (tmp_path / "pyproject.toml").write_text('[build-system]\nbuild-backend = 1\nbackend-path = "x"\n')
    with pytest.raises(WheelBuildFailed) as caught:
        read_build_system(tmp_path)
    assert len(caught.value.problems) == 3

    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = ["good", "not good!", "=="]\n')
    with pytest.raises(WheelBuildFailed) as caught:
        read_build_system(tmp_path)
    assert [problem.where.rpartition(".")[2] for problem in caught.value.problems] == ["requires[1]", "requires[2]"]


@pytest.mark.parametrize("text", ["[build-system", "\udcff", "build-system = 1"])
def test_a_pyproject_that_does_not_parse_is_an_error_of_ours(tmp_path: Path, text: str) -> None:
    """TOML errors, bad UTF-8 and a table that is none end in a message."""
    (tmp_path / "pyproject.toml").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(WheelBuildFailed, match=r"pyproject\.toml"):
        read_build_system(tmp_path)


@pytest.mark.parametrize("answer", ["'pbr'", "[1]"])
def test_a_hook_that_answers_nonsense_is_refused(
    inspector: SourceInspector, target: Target, make_sdist: MakeSdist, answer: str
) -> None:
    """Build requirements must be a list of strings."""
    package = make_sdist(extra=f"def get_requires_for_build_wheel(config_settings=None):\n    return {answer}\n")

    with pytest.raises(WheelBuildFailed, match="no list of strings"):
        inspector.build_requires(package, target)
