"""uv builds nothing: what it would have to build is asked for elsewhere, and told to it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import FetchFailed, ResolutionFailed
from bundler.model.index import IndexConfig
from bundler.model.lock import Artifact
from bundler.model.target import Target
from bundler.resolve.port import Resolution, Resolved, ResolveRequest
from bundler.resolve.uv import UvResolver
from bundler.resolve.uv_answers import Answers
from bundler.resolve.uv_sources import GUARD, Source, unbuilt
from tests.resolve.answering import Told, told

COMMIT = "1" * 40
APP = f"app @ git+https://git.example/app@{COMMIT}"
SDIST = Artifact(name="app-1.0.tar.gz", url="https://files.example/app-1.0.tar.gz", sha256="2" * 64)


def resolve(
    index: Any, targets: Sequence[Target], answers: Told | None, *requirements: str, constraints: str = ""
) -> Resolution:
    request = ResolveRequest(
        requirements=requirements,
        targets=tuple(targets),
        constraints=constraints,
        indexes=index.config() if not isinstance(index, IndexConfig) else index,
        answers=answers,
    )
    return UvResolver().resolve(request)


def versions(found: Resolution) -> dict[str, str]:
    return {one.name: one.version for one in found.packages}


@pytest.fixture
def old(bookworm: Target) -> tuple[Target, ...]:
    return (bookworm,)


def test_a_backend_in_the_source_never_runs(index: Any, old: Sequence[Target], tmp_path: Path) -> None:
    """A source distribution that is resolved has run no code here; what it requires is what was answered."""
    mark = tmp_path / "ran"
    index.sdist("app", "1.0", ["other"], mark=str(mark))
    index.wheel("lib", "1.0")
    answers = Told([told("app", "1.0", "lib")])

    found = resolve(index, old, answers, "app")

    assert versions(found) == {"app": "1.0", "lib": "1.0"}
    assert not mark.exists()


def test_a_declared_backend_never_runs_either(index: Any, old: Sequence[Target], tmp_path: Path) -> None:
    """A backend from a build requirement that this interpreter has is kept from running, too."""
    index.sdist("app", "1.0", build=["setuptools"])
    sdist = index.root / "files" / "app-1.0.tar.gz"
    subprocess.run(["tar", "-xzf", str(sdist), "-C", str(tmp_path)], check=True)
    (tmp_path / "app-1.0" / "pyproject.toml").unlink()
    (tmp_path / "app-1.0" / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    subprocess.run(["tar", "-czf", "app-2.0.tar.gz", "app-1.0"], cwd=tmp_path, check=True)

    found = resolve(index, old, Told([told("app", "2.0")]), f"app @ {(tmp_path / 'app-2.0.tar.gz').as_uri()}")

    assert versions(found) == {"app": "2.0"}
    assert not (tmp_path / "ran").exists()


def test_the_newest_version_is_taken_although_it_has_no_wheel(index: Any, old: Sequence[Target]) -> None:
    """An older version does not win because it has a wheel."""
    index.wheel("app", "1.0")
    index.sdist("app", "2.0")

    assert versions(resolve(index, old, Told([told("app", "2.0")]), "app")) == {"app": "2.0"}


def test_an_answer_that_does_not_fit_leads_to_an_older_version(index: Any, old: Sequence[Target]) -> None:
    """What a source turns out to require counts as for any other package."""
    index.sdist("app", "1.0")
    index.sdist("app", "2.0")
    index.wheel("lib", "1.0")
    answers = Told([told("app", "2.0", "lib>=2"), told("app", "1.0", "lib<2")])

    assert versions(resolve(index, old, answers, "app", "lib")) == {"app": "1.0", "lib": "1.0"}


def test_sources_are_asked_together(index: Any, old: Sequence[Target]) -> None:
    """All sources that are in sight are asked in one go, those behind them in the next."""
    for name in ("one", "two", "three"):
        index.sdist(name, "1.0")
    answers = Told([told("one", "1.0"), told("two", "1.0", "three"), told("three", "1.0")])

    found = resolve(index, old, answers, "one", "two")

    assert set(versions(found)) == {"one", "two", "three"}
    assert answers.asked == [["one 1.0", "two 1.0"], ["three 1.0"]]


def test_each_version_is_asked_for(index: Any, bookworm: Target, trixie_arm: Target) -> None:
    """Two targets that take two versions of a source have both answered."""
    index.sdist("app", "1.0")
    index.sdist("app", "2.0")
    index.wheel("lib", "1.0")
    answers = Told([told("app", "1.0"), told("app", "2.0", "lib")])
    lines = ("app==1.0 ; python_version < '3.12'", "app==2.0 ; python_version >= '3.12'")

    found = resolve(index, (bookworm, trixie_arm), answers, *lines)

    assert {(one.name, one.version) for one in found.packages} == {("app", "1.0"), ("app", "2.0"), ("lib", "1.0")}
    assert sorted(name for names in answers.asked for name in names) == ["app 1.0", "app 2.0"]


def test_what_is_remembered_is_not_asked(index: Any, old: Sequence[Target]) -> None:
    """An answer for the very file that the index offers is used without asking."""
    index.sdist("app", "1.0")
    digest = resolve(index, old, Told([told("app", "1.0")]), "app").packages[0].sdist
    assert digest is not None
    index.wheel("lib", "1.0")
    answers = Told(remembers=[told("app", "1.0", "lib", sha256=digest.sha256)])

    assert set(versions(resolve(index, old, answers, "app"))) == {"app", "lib"}
    assert answers.asked == []


def test_what_is_remembered_of_another_file_is_asked_anew(index: Any, old: Sequence[Target]) -> None:
    """The same version with other bytes, from another index say, gets an answer of its own."""
    index.sdist("app", "1.0")
    index.wheel("lib", "1.0")
    answers = Told([told("app", "1.0")], remembers=[told("app", "1.0", "lib", sha256="0" * 64)])

    assert set(versions(resolve(index, old, answers, "app"))) == {"app"}
    assert answers.asked == [["app 1.0"]]


@pytest.mark.parametrize("wrong", ["absent", "other"])
def test_what_is_remembered_of_an_index_is_not_taken_for_a_commit(
    wrong: str, index: Any, old: Sequence[Target]
) -> None:
    """A git source that only another git source requires is asked, whatever is known of its name elsewhere."""
    index.wheel("lib", "1.0")
    index.wheel("other", "1.0")
    known = [told("top", "1.0", APP), told("app", "1.5", "lib")]
    answers = Told(known, remembers=[told("app", "1.0", wrong, sha256="0" * 64)])

    found = resolve(index, old, answers, f"top @ git+https://git.example/top@{COMMIT}", constraints="app\n")

    assert versions(found) == {"top": "1.0", "app": "1.5", "lib": "1.0"}


def test_what_is_remembered_wrongly_makes_no_conflict(index: Any, old: Sequence[Target]) -> None:
    """An answer for another file that would end in a conflict is asked anew first; a real conflict stays one."""
    index.sdist("app", "1.0")
    index.wheel("lib", "1.0")
    remembers = [told("app", "1.0", "absent", sha256="0" * 64)]

    found = resolve(index, old, Told([told("app", "1.0", "lib")], remembers), "app")

    assert versions(found) == {"app": "1.0", "lib": "1.0"}
    with pytest.raises(ResolutionFailed, match="absent"):
        resolve(index, old, Told([told("app", "1.0", "absent")], remembers), "app")


def test_a_bound_source_is_looked_for_in_its_index(indexes: Any, old: Sequence[Target]) -> None:
    """The file that is asked about is that of the index to which the package is bound."""
    public, private = indexes.make("public"), indexes.make("ours")
    public.sdist("secret", "1.0", ["public"])
    private.sdist("secret", "1.0")
    answers = Told([told("secret", "1.0")])
    config = IndexConfig(indexes=(public.spec(), private.spec("secret")))

    resolve(config, old, answers, "secret")

    assert [one.sdist.url.split("/")[3] for one in answers.sources if one.sdist] == [private.url.split("/")[3]]


def test_a_note_is_a_warning_where_the_source_is_taken(index: Any, old: Sequence[Target]) -> None:
    """What an answer is to be warned of reaches the resolution with the package, and not without it."""
    index.sdist("app", "1.0")
    index.wheel("app", "2.0")
    answers = Told(remembers=[told("app", "1.0", note="app differs")])
    known = Told([told("app", "1.0", note="app differs")])

    assert "app differs" in resolve(index, old, known, "app<2").warnings
    assert resolve(index, old, answers, "app").warnings == ()


def test_a_commit_is_asked_before_uv_runs(index: Any, old: Sequence[Target]) -> None:
    """A git source that names its commit is resolved with no access to its repository."""
    index.wheel("lib", "1.0")
    answers = Told([told("app", "1.5", "lib")])

    found = resolve(index, old, answers, f"app[x] @ git+https://git.example/app@{COMMIT}#subdirectory=in")

    assert versions(found) == {"app": "1.5", "lib": "1.0"}
    source = answers.sources[0].git
    assert source is not None
    assert (source.url, source.commit, source.subdirectory) == ("https://git.example/app", COMMIT, "in")


def test_a_constraint_can_be_the_source(index: Any, old: Sequence[Target]) -> None:
    """A constraint with an address says where a package comes from, also where a dependency asks for it."""
    index.wheel("top", "1.0", ["app>=1"])
    index.wheel("app", "9.0")
    answers = Told([told("app", "1.5")])

    found = resolve(index, old, answers, "top", constraints=f"{APP}\n")

    assert versions(found) == {"top": "1.0", "app": "1.5"}
    assert next(one.git for one in found.packages if one.name == "app") is not None


def test_a_narrow_terminal_folds_no_message(
    index: Any, old: Sequence[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What uv says is read whatever width the user's terminal is said to have."""
    monkeypatch.setenv("COLUMNS", "40")
    index.wheel("top", "1.0", ["app>=1"])

    found = resolve(index, old, Told([told("app", "1.5")]), "top", constraints=f"{APP}\n")

    assert versions(found) == {"top": "1.0", "app": "1.5"}


def test_a_constraint_about_nothing_is_not_asked(index: Any, old: Sequence[Target]) -> None:
    """A constraint with an address costs nothing where nobody takes the package."""
    index.wheel("top", "1.0")
    answers = Told()

    resolve(index, old, answers, "top", constraints=f"{APP}\n")

    assert answers.asked == []


def test_two_sources_of_one_package_are_not_mixed_up(index: Any, bookworm: Target, trixie_arm: Target) -> None:
    """It is refused, with both places: the requirements of one would be taken for the other's."""
    index.sdist("app", "1.0")
    answers = Told([told("app", "1.5", "lib"), told("app", "1.0")])
    lines = (
        f"{APP} ; python_version < '3.12'",
        "app ; python_version >= '3.12'",
    )

    with pytest.raises(ResolutionFailed, match="several sources") as caught:
        resolve(index, (bookworm, trixie_arm), answers, *lines)

    (problem,) = caught.value.problems
    assert problem.where == "app"
    assert "version 1.0 of an index" in problem.what
    assert COMMIT in problem.what


def test_a_repository_and_wheels_do_not_mix(index: Any, bookworm: Target, trixie_arm: Target) -> None:
    """A package from git on one target and from a wheel on another has the requirements of each."""
    index.wheel("app", "1.0", ["other"])
    index.wheel("lib", "1.0")
    index.wheel("other", "1.0")
    answers = Told([told("app", "1.5", "lib")])
    lines = (
        f"{APP} ; python_version < '3.12'",
        "app ; python_version >= '3.12'",
    )

    found = resolve(index, (bookworm, trixie_arm), answers, *lines)

    assert sorted(one.version for one in found.packages if one.name == "app") == ["1.0", "1.5"]
    markers = {one.name: one.marker for one in found.packages}
    assert "3.11" in markers["lib"]
    assert "3.13" in markers["other"]


def test_a_local_tree_is_asked(
    index: Any, old: Sequence[Target], write_source: Callable[..., Path], tmp_path: Path
) -> None:
    """A directory is given as what it is."""
    tree = write_source(tmp_path / "tree", "treed", "0.1")
    answers = Told([told("treed", "0.1")])

    resolve(index, old, answers, f"treed @ {tree.as_uri()}")

    assert [one.directory for one in answers.sources] == [tree]


def test_without_anybody_to_ask_it_is_an_error(index: Any, old: Sequence[Target]) -> None:
    """A request that cannot have answers fails with the source that would need one, and builds nothing."""
    index.sdist("app", "1.0")

    with pytest.raises(ResolutionFailed, match="nobody is there to ask") as caught:
        resolve(index, old, None, "app")

    assert [problem.where for problem in caught.value.problems] == ["app==1.0"]


def test_a_source_that_nobody_offers_is_an_error(old: Sequence[Target]) -> None:
    """A source without a file to ask about is named."""
    request = ResolveRequest(requirements=("app",), targets=tuple(old), answers=Told())
    answers = Answers(request, lambda _sources, _told: {})
    answers.add(Source("app", version="1.0"))

    with pytest.raises(ResolutionFailed, match="no file of theirs") as caught:
        answers.settle()

    assert [problem.where for problem in caught.value.problems] == ["app==1.0"]


def test_what_is_asked_for_again_is_an_error(old: Sequence[Target]) -> None:
    """A source that uv stops at although it was told of it ends the resolve."""
    request = ResolveRequest(requirements=("app",), targets=tuple(old), answers=Told([told("app", "1.0")]))
    answers = Answers(request, lambda _sources, _told: {"app": Resolved(name="app", version="1.0", sdist=SDIST)})
    answers.add(Source("app", version="1.0"))
    answers.settle()

    with pytest.raises(ResolutionFailed, match="does not take what it was told of app"):
        answers.add(Source("app", version="1.0"))


def test_a_download_that_fails_is_no_question(index: Any, old: Sequence[Target]) -> None:
    """A source distribution that the index lists and does not have is a network error."""
    index.sdist("app", "1.0").unlink()

    with pytest.raises((FetchFailed, ResolutionFailed), match="app"):
        resolve(index, old, Told([told("app", "1.0")]), "app")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (f"error: Failed to build `App_X==1.0`\n  {GUARD}", Source("app-x", version="1.0")),
        (
            "error: Failed to download and build `app @ git+https://git.example/app@v1`\n  cause: Git",
            Source("app", reference="git+https://git.example/app@v1"),
        ),
        ("error: Failed to download and build `app==1.0`\n  cause: HTTP status 404", None),
        ("error: Failed to download `app==1.0`", None),
        ("error: No solution found", None),
    ],
)
def test_what_uv_says_of_a_source(text: str, source: Source | None) -> None:
    """Only what uv was kept from is a source to ask; a failed download is none."""
    assert unbuilt(text) == source
