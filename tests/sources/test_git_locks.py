"""Locking packages that come from git: revisions, tags, subdirectories, extras, constraints, servers in trouble."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bundler.errors import GitError, MetadataError, ResolutionFailed
from bundler.events import Event
from bundler.model.lock import GitSource, Lock, LockedPackage
from bundler.store.cas import Store
from bundler.workflows.lock import LockRequest, lock

if TYPE_CHECKING:
    from tests.sources.conftest import GitServer, Repository, Wheels

COMMAND = Path(sys.executable).parent / "bundle-build"
BACKEND = "def get_requires_for_build_wheel(settings=None):\n    return []\n"
MISSING = "1" * 40
LockVenv = Callable[..., Lock]


def project(name: str, version: str, requires: str = "", extra: str = "") -> dict[str, str]:
    """Return a source that declares all that a resolver needs."""
    text = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    text += f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = [{requires}]\n'
    text += f'[project.optional-dependencies]\nmore = ["{extra}"]\n' if extra else ""
    return {"pyproject.toml": text, "backend.py": BACKEND}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of wheels: all that there is besides git, for no index is used."""
    path = tmp_path / "wheels"
    path.mkdir()
    return path


@pytest.fixture
def write(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    def manifest(*packages: str, **more: Any) -> Path:
        document = {
            "schema": 1,
            "seed_packages": [],
            "release": {"name": "test", "version": "1"},
            "targets": ["auto"],
            "default_packages": [],
            "wheel_folders": [str(folder)],
            "venvs": {"web": {"path": "/opt/web", "packages": list(packages)}},
            **more,
        }
        path = tmp_path / "release.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return manifest


@pytest.fixture
def lock_venv(write: Callable[..., Path], store: Store, events: list[Event]) -> LockVenv:
    def run(*packages: str, **more: Any) -> Lock:
        return lock(LockRequest(manifest=write(*packages, **more), store=store), events.append).lock

    return run


def packages(found: Lock) -> dict[str, LockedPackage]:
    return {one.name: one for one in found.venvs[0].packages}


def source(found: Lock, name: str = "app") -> GitSource:
    origin = packages(found)[name].origin
    assert isinstance(origin, GitSource)
    return origin


def put(folder: Path, wheels: Wheels, name: str, version: str = "1.0", requires: str = "") -> None:
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    text += f"Requires-Dist: {requires}\n" if requires else ""
    data = wheels.make(name, version, metadata=f"{text}\n".encode())
    (folder / f"{name}-{version}-py3-none-any.whl").write_bytes(data)


@pytest.mark.parametrize(
    "form", ["app[more] @ git+{url}@v1#subdirectory=in", "git+{url}@v1#egg=app[more]&subdirectory=in"]
)
def test_extras_of_a_subdirectory(
    form: str, lock_venv: LockVenv, repository: Repository, folder: Path, wheels: Wheels
) -> None:
    """Both ways to write it lock the commit of a tag, the directory in it, and what the extra requires."""
    files = project("app", "2.0", '"lib"', extra="other")
    commit = repository.commit({f"in/{name}": text for name, text in files.items()})
    repository.git("tag", "v1")
    put(folder, wheels, "lib")
    put(folder, wheels, "other")

    found = lock_venv(form.format(url=repository.url))

    assert {name: one.version for name, one in packages(found).items()} == {
        "app": "2.0",
        "lib": "1.0",
        "other": "1.0",
    }
    assert source(found) == GitSource(url=repository.url, commit=commit, requested_revision="v1", subdirectory="in")


def test_a_server_in_passing_trouble_costs_time_only(
    lock_venv: LockVenv, git_server: GitServer, repository: Repository
) -> None:
    """A lock with a service that is in no index waits for a server that fails twice, and asks it once for all."""
    commit = repository.commit(project("app", "3.0"))
    git_server.failures = 2

    found = lock_venv(f"app @ git+{git_server.url}/demo/.git@main")

    assert (packages(found)["app"].version, source(found).commit) == ("3.0", commit)
    assert source(found).requested_revision == "main"
    assert git_server.failures == 0


def test_a_constraint_names_the_commit(
    lock_venv: LockVenv, repository: Repository, folder: Path, wheels: Wheels
) -> None:
    """A constraint with a commit is the source of a package wherever it is asked for; lower layers lose to it."""
    commit = repository.commit(project("app", "2.0", '"lib"'))
    repository.commit(project("app", "3.0"))
    put(folder, wheels, "top", requires="app>=1")
    put(folder, wheels, "app", "1.0")
    put(folder, wheels, "lib")
    layers = [
        {"name": "user", "lines": [f"app @ git+{repository.url}@{commit}"]},
        {"name": "upper", "lines": ["app===1.0"]},
    ]

    found = lock_venv("top", constraints=layers)

    assert packages(found)["app"].version == "2.0"
    assert (source(found).commit, source(found).requested_revision) == (commit, commit)
    assert [lost.loser for lost in found.shadowed] == ["app===1.0"]
    assert "lib" in packages(found)


def test_a_constraint_may_name_a_branch(
    lock_venv: LockVenv, repository: Repository, folder: Path, wheels: Wheels
) -> None:
    """A branch in a constraint becomes a commit in the lock, and the lock says which branch it was."""
    commit = repository.commit(project("app", "2.0"))
    put(folder, wheels, "app", "1.0")

    found = lock_venv("app", constraints=[{"name": "user", "lines": [f"app @ git+{repository.url}@main"]}])

    assert (source(found).commit, source(found).requested_revision) == (commit, "main")
    assert f"app @ git+{repository.url}@main" in found.effective["release"]


def test_a_constraint_about_nothing_needs_no_server(
    lock_venv: LockVenv, tmp_path: Path, folder: Path, wheels: Wheels
) -> None:
    """A list of commits of all services of a release is no reason to fetch those that nobody takes."""
    put(folder, wheels, "top")
    gone = (tmp_path / "gone").as_uri()

    found = lock_venv("top", constraints=[{"name": "user", "lines": [f"app @ git+{gone}@{MISSING}"]}])

    assert set(packages(found)) == {"top"}


def test_a_constraint_that_does_not_fit_is_explained(
    lock_venv: LockVenv, repository: Repository, folder: Path, wheels: Wheels
) -> None:
    """A commit whose version is not what the venv asks for is a conflict that names both."""
    commit = repository.commit(project("app", "2.0"))
    put(folder, wheels, "app", "1.0")
    line = f"app @ git+{repository.url}@{commit}"

    with pytest.raises(ResolutionFailed, match="web: no versions satisfy") as caught:
        lock_venv("app==1.0", constraints=[{"name": "user", "lines": [line]}])

    told = list(map(str, caught.value.problems))
    assert "venv web: wants app==1.0" in told
    assert f"constraint layer user manifest layer user:1: says {line}" in told


def test_what_a_git_source_requires_from_git_is_locked_too(
    lock_venv: LockVenv, repository: Repository, folder: Path, wheels: Wheels
) -> None:
    """A requirement of a git source with a branch of another one becomes a commit as well."""
    other = type(repository)(repository.path.parent / "other")
    commit = other.commit(project("part", "7.0"))
    repository.commit(project("app", "2.0", f'"part @ git+{other.url}@main"'))

    found = lock_venv(f"app @ git+{repository.url}@main")

    assert packages(found)["part"].version == "7.0"
    assert (source(found, "part").commit, source(found, "part").requested_revision) == (commit, "main")


def test_a_revision_behind_an_extra_that_nobody_takes_may_be_gone(
    lock_venv: LockVenv, repository: Repository, tmp_path: Path
) -> None:
    """A git requirement under an extra is looked at only if the extra is asked for."""
    gone = (tmp_path / "gone").as_uri()
    repository.commit(project("app", "2.0", extra=f"part @ git+{gone}@main"))

    assert set(packages(lock_venv(f"app @ git+{repository.url}@main"))) == {"app"}
    with pytest.raises(GitError, match="gone"):
        lock_venv(f"app[more] @ git+{repository.url}@main")


def test_all_revisions_that_are_not_there_are_named(lock_venv: LockVenv, repository: Repository) -> None:
    """Several git requirements that cannot be had are in one error."""
    repository.commit(project("app", "2.0"))

    with pytest.raises(GitError, match="2 git sources cannot be had") as caught:
        lock_venv(f"app @ git+{repository.url}@nowhere", f"part @ git+{repository.url}@{MISSING}")

    told = "\n".join(map(str, caught.value.problems))
    assert "has no revision nowhere" in told
    assert f"has no commit {MISSING}" in told


def test_a_repository_of_another_package_is_refused(lock_venv: LockVenv, repository: Repository) -> None:
    """A repository that holds another package than the requirement names is an error with both names."""
    repository.commit(project("other", "2.0"))

    with pytest.raises(MetadataError, match="app is to come from says that it is other"):
        lock_venv(f"app @ git+{repository.url}@main")


@pytest.mark.network
@pytest.mark.slow
def test_pbr_finds_its_version_in_the_tags(
    repository: Repository, write: Callable[..., Path], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project whose version is the distance from its last tag has that version in the lock."""
    monkeypatch.delenv("PIP_NO_INDEX")
    setup = "import setuptools\nsetuptools.setup(setup_requires=['pbr'], pbr=True)\n"
    described = "[metadata]\nname = app\n[files]\nmodules = app\n"
    repository.commit({"setup.py": setup, "setup.cfg": described, "app.py": "", "requirements.txt": "six\n"})
    repository.commit({"app.py": "more = True\n"})
    path = write(f"app @ git+{repository.url}@main", wheel_folders=[])

    found = lock(LockRequest(manifest=path, store=store)).lock

    # 1.0.0 is three commits back: pbr counts them.
    assert packages(found)["app"].version == "1.0.1.dev3"
    assert "six" in packages(found)
    assert {"pbr", "setuptools"} <= {one.name for one in found.builds[0].packages}


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("app @ git+{url}@" + MISSING, 32, f"has no commit {MISSING}"),
        ("app @ git+{gone}@main", 32, "does not appear to be a git repository"),
        ("app @ git+{url}@main#subdirectory=none", 32, "has no directory none"),
    ],
)
def test_the_command_says_it_in_a_line(
    line: str, status: int, said: str, write: Callable[..., Path], repository: Repository, tmp_path: Path
) -> None:
    """What a git source lacks ends the command with its exit code and an error, not with a traceback."""
    repository.commit(project("app", "2.0"))
    manifest = write(line.format(url=repository.url, gone=(tmp_path / "gone").as_uri()))
    env = {**os.environ, "BUNDLE_STORE": str(tmp_path / "store"), "PIP_NO_INDEX": "1"}

    done = subprocess.run([COMMAND, "lock", manifest], env=env, capture_output=True, text=True, check=False)

    assert done.returncode == status, done.stderr
    (error,) = (one for one in done.stderr.splitlines() if one.startswith("error: "))
    assert said in error
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr
