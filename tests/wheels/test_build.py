"""Building one package: reproducible, checked, remembered, and plain about failures."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from bundler.buildenv.host import HostEnvironment
from bundler.buildenv.port import EnvironmentSpec
from bundler.errors import DigestMismatch, WheelBuildFailed, WheelRefused
from bundler.model.lock import DirectorySource, GitSource, LockedPackage
from bundler.model.manifest import PackageBuild
from bundler.model.target import Target, known_target
from bundler.model.wheel import Wheel
from bundler.process import Command, run
from bundler.sources.directory import digest_directory
from bundler.sources.git import GitSources
from bundler.store.cas import Store
from bundler.wheels.build import BuildRequest, build_wheel, recall_wheel
from bundler.wheels.source import Sources

MakeSdist: TypeAlias = Callable[..., LockedPackage]


class Updated(HostEnvironment):
    """The same system with other versions of its packages."""

    @property
    def spec(self) -> EnvironmentSpec:
        return replace(super().spec, identity="of the new versions")


def sources(store: Store, root: Path = Path("/nowhere")) -> Sources:
    return Sources(store=store, checkout=GitSources(store).checkout, root=root)


def request_for(package: LockedPackage, target: Target, **settings: object) -> BuildRequest:
    return BuildRequest(package=package, target=target, settings=PackageBuild.model_validate(settings))


def read(store: Store, wheel: Wheel, member: str) -> bytes:
    with zipfile.ZipFile(store.path(wheel.digest)) as archive:
        return archive.read(member)


def test_a_wheel_is_built_once_ever(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist
) -> None:
    """The result is in the store, has a log, and is recalled as long as nothing that went in changes.

    What was built without isolation is not taken for what was built with it, nor the other way round; nor is what was
    built with other versions of the system's packages.
    """
    request = request_for(make_sdist(), target, env={"MODE": "a"})
    wheel = build_wheel(request, environment, sources(store))

    assert wheel.filename == "demo-1.0-py3-none-any.whl"
    assert wheel.built
    assert wheel.size == store.size(wheel.digest)
    assert recall_wheel(request, environment, store) == wheel
    assert build_wheel(request, environment, sources(store)) == wheel
    assert len(list((store.root / "logs").glob("demo-1.0-*.log"))) == 1
    assert recall_wheel(request_for(request.package, target, env={"MODE": "b"}), environment, store) is None
    more = replace(request, requirements=(replace(wheel, filename="other-1.0-py3-none-any.whl"),))
    assert recall_wheel(more, environment, store) is None
    if environment.isolated:
        assert recall_wheel(request, HostEnvironment(store.tmp, isolate=False), store) is None
    assert recall_wheel(request, Updated(store.tmp, target=target), store) is None
    assert not list(store.tmp.glob("work-*"))


def test_env_and_config_settings_reach_the_backend(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist
) -> None:
    """What the manifest says per package is what the backend sees."""
    extra = 'def files():\n    return {"mode.txt": f"{os.environ[\'MODE\']} {CONFIG}".encode()}\n'
    settings = {"env": {"MODE": "fast"}, "config_settings": {"--opt": ["a", "b"]}}
    wheel = build_wheel(request_for(make_sdist(extra=extra), target, **settings), environment, sources(store))

    assert read(store, wheel, "mode.txt") == b"fast {'--opt': ['a', 'b']}"


@pytest.fixture
def restored_umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.mark.native
@pytest.mark.slow
@pytest.mark.usefixtures("restored_umask")
@pytest.mark.parametrize("isolate", [pytest.param(True, marks=pytest.mark.isolation), False])
def test_two_builds_of_an_extension_are_the_same_bytes(
    tmp_path: Path,
    store: Store,
    target: Target,
    make_extension: MakeSdist,
    monkeypatch: pytest.MonkeyPatch,
    isolate: bool,
) -> None:
    """Directory, umask, time zone and locale leave no trace in compiled code with debug information."""
    package = make_extension("spam")
    first = build_wheel(request_for(package, target), HostEnvironment(store.tmp, isolate=isolate), sources(store))
    other = Store(tmp_path / "quite" / "another" / "place" / "with-a-longer-name")
    other.put_file(store.path(package.origin.sha256))  # type: ignore[union-attr]  # an sdist has a digest
    os.umask(0o077)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LC_ALL", "C")
    second = build_wheel(request_for(package, target), HostEnvironment(other.tmp, isolate=isolate), sources(other))

    assert first.filename.endswith(f"linux_{target.arch}.whl")
    assert first.digest == second.digest
    library = read(store, first, "spam.so")
    assert os.fsencode(store.root) not in library
    assert b"/build/" in library


def test_a_failing_build_shows_the_end_of_its_log_and_keeps_log_and_tree(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist
) -> None:
    """The last 20 lines are in the message; the hint says where log and tree are; both are there."""
    extra = (
        'def files():\n    for number in range(50):\n        print("line", number, flush=True)\n'
        '    pathlib.Path("left.txt").write_text("x")\n'
        '    raise RuntimeError("Python.h: No such file or directory")\n'
    )
    package = make_sdist(extra=extra)
    with pytest.raises(WheelBuildFailed) as caught:
        build_wheel(request_for(package, target), environment, sources(store))

    error = caught.value
    assert error.message.startswith(f"demo 1.0 for {target.name}: build_wheel failed\n")
    assert "| RuntimeError: Python.h: No such file or directory" in error.message
    assert "| line 49" in error.message
    assert "| line 10\n" not in error.message
    assert error.hint.startswith("apt-get install python3-dev; log: ")
    log, tree = (Path(part.partition(": ")[2]) for part in error.hint.split("; ")[1:])
    assert "line 10\n" in log.read_text()
    assert (tree / "demo-1.0" / "left.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("import absent_module", "No module named 'absent_module'"),
        ("os._exit(3)", "build_wheel failed"),
        ("def metadata():\n    import sys; sys.exit('gave up')", "gave up"),
    ],
)
def test_a_backend_that_does_not_even_start_is_reported(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist, extra: str, message: str
) -> None:
    """Import errors, hard exits and sys.exit are failures of the build, not of ours."""
    with pytest.raises(WheelBuildFailed) as caught:
        build_wheel(request_for(make_sdist(extra=extra), target), environment, sources(store))

    assert message in caught.value.message


@pytest.mark.parametrize(
    ("extra", "sign"),
    [
        pytest.param(
            "import signal\ndef files():\n    os.kill(os.getpid(), signal.SIGKILL)", "was killed (status", id="killed"
        ),
        pytest.param(
            "def files():\n    raise SystemExit('cc: fatal error: Killed signal terminated program cc1')",
            "terminated program cc1",
            id="its compiler was killed",
        ),
        pytest.param("def files():\n    return bytearray(1 << 36)", "MemoryError", id="beyond its limit"),
    ],
)
def test_a_build_without_enough_memory_says_what_to_do(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist, extra: str, sign: str
) -> None:
    """Killed by the kernel, its compiler killed, or refused memory: the hint names the setting to raise."""
    with pytest.raises(WheelBuildFailed) as caught:
        build_wheel(request_for(make_sdist(extra=extra), target), environment, sources(store))

    assert sign in caught.value.message
    assert caught.value.hint.startswith("out of memory: raise build.packages.demo.memory in the manifest")


@pytest.mark.parametrize("answer", ["../demo.whl", "absent.whl"])
def test_a_backend_that_names_another_file_is_refused(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist, answer: str
) -> None:
    """The result must be a wheel in the directory that was given."""
    pyproject = b'[build-system]\nrequires = []\nbuild-backend = "liar"\nbackend-path = ["."]\n'
    liar = f"def build_wheel(*args, **options):\n    return {answer!r}\n"
    package = make_sdist(files={"pyproject.toml": pyproject, "liar.py": liar.encode()})

    with pytest.raises(WheelBuildFailed, match="its backend"):
        build_wheel(request_for(package, target), environment, sources(store))


def test_a_backend_that_leaves_a_link_as_its_result_is_refused(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist
) -> None:
    """A link out of the private tree is not followed."""
    pyproject = b'[build-system]\nrequires = []\nbuild-backend = "liar"\nbackend-path = ["."]\n'
    liar = b"""
import os
def build_wheel(folder, *args, **options):
    os.symlink("/etc/passwd", os.path.join(folder, "demo-1.0-py3-none-any.whl"))
    return "demo-1.0-py3-none-any.whl"
"""
    package = make_sdist(files={"pyproject.toml": pyproject, "liar.py": liar})

    with pytest.raises(WheelBuildFailed, match=r"left no usable demo-1\.0-py3-none-any\.whl"):
        build_wheel(request_for(package, target), environment, sources(store))


def test_another_version_than_locked_is_refused(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist
) -> None:
    """The lock says 1.1, the source builds 1.0: refused, and nothing is remembered."""
    request = request_for(make_sdist(locked_version="1.1"), target)
    with pytest.raises(WheelRefused) as caught:
        build_wheel(request, environment, sources(store))

    assert [problem.what for problem in caught.value.problems] == ["is not the locked demo 1.1"]
    assert "tree: " in caught.value.hint
    assert recall_wheel(request, environment, store) is None


@pytest.mark.native
@pytest.mark.slow
def test_native_code_for_another_target_is_refused(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist, make_extension: MakeSdist
) -> None:
    """This host builds portable wheels for other targets, but no native code."""
    name = "ubuntu-24.04-x86_64" if target.name != "ubuntu-24.04-x86_64" else "debian-12-x86_64"
    other = known_target(name)
    portable = build_wheel(request_for(make_sdist(), other), environment, sources(store))
    native = make_extension("spam")

    assert portable.filename == "demo-1.0-py3-none-any.whl"
    with pytest.raises(WheelRefused) as caught:
        build_wheel(request_for(native, other), environment, sources(store))
    assert any("holds native code" in str(problem) for problem in caught.value.problems)


def test_build_requirements_of_another_target_are_refused(
    store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist
) -> None:
    """A wheel for another Python cannot serve a build here: it is named before anything runs."""
    package = make_sdist()
    tool = Wheel(
        name="tool",
        version="1.0",
        filename="tool-1.0-cp27-cp27mu-linux_x86_64.whl",
        digest="0" * 64,
        size=1,
        kind="wheel",
        origin=package.origin,
    )
    request = BuildRequest(package=package, target=target, requirements=(tool,))

    with pytest.raises(WheelBuildFailed, match="build requirements do not fit") as caught:
        build_wheel(request, environment, sources(store))
    assert caught.value.problems[0].where == tool.filename


DESCRIBE = """
def _describe():
    command = ["git", "describe", "--tags", "--always"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
VERSION = _describe()
"""


@pytest.fixture
def repository(tmp_path: Path, make_sdist: MakeSdist, store: Store) -> tuple[str, str]:
    """A git repository whose version comes from its tag, as with pbr; its URL and commit."""
    place = tmp_path / "repository"
    Sources(store=store, checkout=lambda *_: None, root=tmp_path).place(make_sdist(extra=DESCRIBE), place)
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "a", f"GIT_{who}_EMAIL": "a@example", f"GIT_{who}_DATE": "2021-03-04T05:06:07Z"}
    for line in ("init -q", "add .", "commit -q -m one", "tag 1.2.3"):
        run(Command(argv=["git", *line.split()], cwd=place, env=env))
    commit = run(Command(argv=["git", "rev-parse", "HEAD"], cwd=place, env=env)).text.strip()
    return f"file://{place}", commit


def git_package(repository: tuple[str, str], version: str) -> LockedPackage:
    url, commit = repository
    return LockedPackage(name="demo", version=version, kind="git", origin=GitSource(url=url, commit=commit))


def test_a_git_source_is_built_with_its_tags(
    store: Store, environment: HostEnvironment, target: Target, repository: tuple[str, str]
) -> None:
    """The checkout has history and tags inside the build, so the version is the tag's; times are the commit's."""
    request = request_for(git_package(repository, "1.2.3"), target)
    wheel = build_wheel(request, environment, sources(store))

    assert wheel.filename == "demo-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(store.path(wheel.digest)) as archive:
        assert archive.getinfo("demo.py").date_time == (2021, 3, 4, 5, 6, 6)


def test_a_git_source_without_a_version_is_refused(
    store: Store, environment: HostEnvironment, target: Target, repository: tuple[str, str]
) -> None:
    """0.0.0 is what pbr says when it finds no tag: never accepted from git, even if locked so."""
    place = Path(repository[0].removeprefix("file://"))
    run(Command(argv=["git", "tag", "-d", "1.2.3"], cwd=place))
    run(Command(argv=["git", "tag", "0.0.0"], cwd=place))

    with pytest.raises(WheelRefused, match=r"gives version 0\.0\.0") as caught:
        build_wheel(request_for(git_package(repository, "0.0.0"), target), environment, sources(store))
    assert "repository with its tags" in caught.value.hint


def test_a_directory_source_is_built_as_it_was_locked(
    tmp_path: Path, store: Store, environment: HostEnvironment, target: Target, make_sdist: MakeSdist
) -> None:
    """The tree is copied, never built in place; one that changed since is refused."""
    sources(store).place(make_sdist(), tmp_path / "tree")
    origin = DirectorySource(path="tree", sha256=digest_directory(tmp_path / "tree"))
    package = LockedPackage(name="demo", version="1.0", kind="directory", origin=origin)
    before = sorted(tmp_path.joinpath("tree").rglob("*"))
    wheel = build_wheel(request_for(package, target), environment, sources(store, tmp_path))

    assert wheel.filename == "demo-1.0-py3-none-any.whl"
    assert sorted(tmp_path.joinpath("tree").rglob("*")) == before
    (tmp_path / "tree" / "src" / "more.py").write_text("")
    changed = request_for(package, target, env={"AGAIN": "1"})
    with pytest.raises(DigestMismatch, match="changed since it was locked"):
        build_wheel(changed, environment, sources(store, tmp_path))


def test_a_subdirectory_without_a_project_is_named(
    store: Store, environment: HostEnvironment, target: Target, repository: tuple[str, str]
) -> None:
    """`subdirectory=src` that holds no pyproject.toml: the message says where it looked."""
    package = git_package(repository, "1.2.3")
    assert isinstance(package.origin, GitSource)
    package = replace(package, origin=replace(package.origin, subdirectory="src"))

    with pytest.raises(WheelBuildFailed, match=r"no pyproject\.toml or setup\.py in 'src'"):
        build_wheel(request_for(package, target), environment, sources(store))
