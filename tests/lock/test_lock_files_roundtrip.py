"""A lock as files: exact round trips, and refusals of what is no lock."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from packaging.pylock import Pylock

from bundler.errors import LockInvalid
from bundler.model.lock import (
    Artifact,
    BuildLock,
    DirectorySource,
    GitSource,
    Kind,
    LayerRecord,
    Lock,
    LockedPackage,
    Origin,
    Shadowed,
    VenvLock,
)
from bundler.model.lock_json import lock_files, read_lock
from bundler.model.pylock import built_pylock_text, pylock_text, read_pylock
from bundler.model.target import known_target
from bundler.model.wheel import Wheel

TARGETS = {name: known_target(name) for name in ("debian-12-x86_64", "debian-13-aarch64", "debian-12-x86_64-py313")}
HERE = TARGETS["debian-12-x86_64"]

names = st.from_regex(r"[a-z]([a-z0-9]|-[a-z0-9]){0,6}", fullmatch=True)
versions = st.sampled_from(["1.0", "2!1.0rc1", "33.0.1.dev7", "1.0.post2+local.3", "2026.1"])
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
commits = st.text("0123456789abcdef", min_size=40, max_size=40)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
flags = st.booleans()


@st.composite
def files(draw: st.DrawFn, name: str, version: str) -> tuple[Kind, Artifact]:
    kind = draw(st.sampled_from(["wheel", "sdist", "odd"]))
    stem = f"{name.replace('-', '_')}-{version}"
    filename = {"wheel": f"{stem}-py3-none-any.whl", "sdist": f"{stem}.tar.gz", "odd": "main.zip"}[kind]
    size = draw(st.none() | st.integers(1, 2**40))
    url = f"https://index.example/files/{draw(digests)[:8]}/{filename.replace('+', '%2B')}"
    return ("wheel" if kind == "wheel" else "sdist"), Artifact(
        name=filename, url=url, sha256=draw(digests), size=size
    )


@st.composite
def packages(draw: st.DrawFn) -> LockedPackage:
    name, version = draw(names), draw(versions)
    kind = draw(st.sampled_from(["file", "git", "directory"]))
    file_kind, artifact = draw(files(name, version))
    origins: dict[str, tuple[Kind, Origin]] = {
        "git": (
            "git",
            GitSource(
                url="https://git.example/repository.git",
                commit=draw(commits),
                requested_revision=draw(texts),
                subdirectory=draw(st.sampled_from(["", "inner/part"])),
                submodules=draw(flags),
            ),
        ),
        "directory": ("directory", DirectorySource(path="../tree", sha256=draw(digests))),
        "file": (file_kind, artifact),
    }
    return LockedPackage(
        name=name,
        version=version,
        kind=origins[kind][0],
        origin=origins[kind][1],
        requested=draw(flags),
        dependencies=tuple(draw(st.lists(names, max_size=3))),
        yanked=draw(texts),
    )


def lists_of_packages() -> st.SearchStrategy[tuple[LockedPackage, ...]]:
    return st.lists(packages(), max_size=4, unique_by=lambda one: one.name).map(tuple)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    venv_names = draw(
        st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,6}[a-z0-9]", fullmatch=True), unique=True, max_size=3)
    )
    target = st.sampled_from(sorted(TARGETS))
    builds = draw(
        st.lists(st.tuples(names, versions, target), max_size=3, unique_by=lambda one: (one[0], one[1], one[2]))
    )
    return Lock(
        name="openstack",
        version=draw(texts),
        sequence=draw(st.integers(1, 2**40)),
        created=draw(st.integers(0, 2**40)),
        inputs=draw(digests),
        resolver="uv 1.2",
        targets=tuple(sorted(TARGETS)),
        venvs=tuple(
            VenvLock(venv=venv, target=name, packages=draw(lists_of_packages()))
            for venv in venv_names
            for name in sorted(TARGETS)
        ),
        builds=tuple(
            BuildLock(package=name, version=version, target=on, packages=draw(lists_of_packages()))
            for name, version, on in builds
        ),
        layers=tuple(
            LayerRecord(name=draw(texts), location=draw(texts), sha256=draw(digests))
            for _ in range(draw(st.integers(0, 2)))
        ),
        shadowed=(Shadowed(name="a", winner="a==1", winner_where="x:1", loser=draw(texts), loser_where="y:2"),),
        effective={"release": draw(texts), **dict.fromkeys(venv_names, "a==1\n")},
        warnings=tuple(draw(st.lists(texts, max_size=2))),
    )


def reread(files: dict[str, bytes]) -> Lock:
    return read_lock(files.__getitem__, "here")


@given(locks())
def test_a_lock_comes_back_as_it_was(lock: Lock) -> None:
    """Writing and reading gives the same lock, and writing again the same bytes."""
    written = lock_files(lock, TARGETS)

    assert reread(written) == lock
    assert lock_files(reread(written), TARGETS) == written


@given(lists_of_packages())
def test_every_pylock_is_valid(found: tuple[LockedPackage, ...]) -> None:
    """What is written passes the validation of the reference implementation of PEP 751."""
    document = tomli.loads(pylock_text(found, HERE))

    assert [package.name for package in Pylock.from_dict(document).packages] == [one.name for one in found]


def test_a_lock_selects_its_files_on_its_target_only() -> None:
    """The reference implementation accepts the lock for the target and refuses it for another Python."""
    wheel = Artifact(name="a-1-py3-none-any.whl", url="https://index.example/a-1-py3-none-any.whl", sha256="0" * 64)
    lock = Pylock.from_dict(
        tomli.loads(pylock_text([LockedPackage(name="a", version="1", kind="wheel", origin=wheel)], HERE))
    )

    chosen = list(lock.select(environment=HERE.markers, tags=HERE.tags))  # type: ignore[arg-type]

    assert [package.name for package, _ in chosen] == ["a"]
    other = TARGETS["debian-13-aarch64"]
    with pytest.raises(Exception, match="does not satisfy"):
        list(lock.select(environment=other.markers, tags=other.tags))  # type: ignore[arg-type]


def test_a_built_lock_has_paths_and_no_address() -> None:
    """The built lock names each wheel relative to itself, with its own digest."""
    git = GitSource(url="https://git.example/a", commit="a" * 40)
    package = LockedPackage(name="a", version="1", kind="git", origin=git, requested=True)
    wheel = Wheel(
        name="a", version="1", filename="a-1-py3-none-any.whl", digest="2" * 64, size=7, kind="git", origin=git
    )

    text = built_pylock_text([package], [wheel], HERE)

    assert "git.example" not in text
    (entry,) = tomli.loads(text)["packages"]
    assert entry["wheels"] == [
        {"name": wheel.filename, "path": f"../wheels/{wheel.filename}", "size": 7, "hashes": {"sha256": "2" * 64}}
    ]


def _one() -> Lock:
    return Lock(
        name="a", version="1", sequence=1, created=1, inputs="0", resolver="uv 1", targets=("debian-12-x86_64",),
        venvs=(VenvLock(venv="v", target="debian-12-x86_64", packages=()),), effective={"release": "a==1\n"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("lock.json", "{", "JSON"),
        ("lock.json", "[]", "lock.json"),
        ("lock.json", '{"format": 99}', "format 99"),
        ("lock.json", '{"format": 1}', "name"),
        ("debian-12-x86_64/pylock.v.toml", "= nonsense", "pylock.v.toml"),
        ("debian-12-x86_64/pylock.v.toml", 'lock-version = "9.0"', "pylock.v.toml"),
    ],
)
def test_a_damaged_lock_is_refused_with_the_file(path: str, text: str, said: str) -> None:
    """The error names the file, and says how to get a good lock again."""
    written = lock_files(_one(), TARGETS)
    written[path] = text.encode()

    with pytest.raises(LockInvalid, match=said) as caught:
        reread(written)

    assert "lock again" in caught.value.hint


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "a//b", ""])
def test_a_lock_does_not_lead_outside(path: str) -> None:
    """A path that leaves the lock's directory is refused before anything is read."""
    written = lock_files(_one(), TARGETS)
    document = json.loads(written["lock.json"])
    document["venvs"][0]["file"] = path
    written["lock.json"] = json.dumps(document).encode()

    with pytest.raises(LockInvalid, match="no path of a lock"):
        reread(written)


def test_fields_of_a_wrong_type_are_refused() -> None:
    """A number where text belongs is an error of the lock, not of the program."""
    written = lock_files(_one(), TARGETS)
    written["lock.json"] = written["lock.json"].replace(b'"name": "a"', b'"name": 7')

    with pytest.raises(LockInvalid, match="no string"):
        reread(written)


def test_two_versions_of_a_package_have_two_build_files() -> None:
    """Builds of two versions for one target do not overwrite each other."""
    builds = tuple(
        BuildLock(package="a", version=version, target="debian-12-x86_64", packages=()) for version in ("1.0", "2.0")
    )

    written = lock_files(replace(_one(), builds=builds), TARGETS)

    assert {path for path in written if "/build/" in path} == {
        "debian-12-x86_64/build/pylock.a-1_0.toml",
        "debian-12-x86_64/build/pylock.a-2_0.toml",
    }


@given(st.text(max_size=40))
def test_any_text_reads_or_is_refused(text: str) -> None:
    """Reading arbitrary text as a pylock ends in packages or in one kind of error."""
    with contextlib.suppress(LockInvalid):
        read_pylock(text, "x")
