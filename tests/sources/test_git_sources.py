"""Git sources, against real repositories over file: and HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.errors import GitError
from bundler.events import Event, StageFinished, Warned
from bundler.model.index import IndexConfig
from bundler.model.lock import GitSource
from bundler.sources.credentials import Credentials
from bundler.sources.git import GitSources
from bundler.sources.git_tree import submodule_url
from bundler.sources.retry import Retry
from bundler.store.cas import Store

if TYPE_CHECKING:
    from tests.sources.conftest import GitServer, Repository

QUICK = Retry(attempts=4, base=0.01, cap=0.02)


@pytest.fixture
def sources(store: Store, events: list[Event]) -> GitSources:
    return GitSources(store, events.append, retry=QUICK)


def source(repository: Repository, commit: str = "", subdirectory: str = "") -> GitSource:
    found = commit or repository.git("rev-parse", "HEAD")
    return GitSource(url=repository.url, commit=found, subdirectory=subdirectory)


def snapshot(tree: Path) -> list[tuple[str, int, int, bytes]]:
    """Return name, mode, time and content of everything but .git."""
    found = []
    for path in sorted(tree.rglob("*")):
        if ".git" not in path.relative_to(tree).parts:
            stamp = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found.append((str(path.relative_to(tree)), stamp.st_mode & 0o777, int(stamp.st_mtime), content))
    return found


def test_revisions_are_resolved(sources: GitSources, repository: Repository) -> None:
    """Branches, annotated tags, full refs, short and full SHAs and the default branch give commits."""
    first, head = repository.git("rev-parse", "1.0.0^{commit}"), repository.git("rev-parse", "HEAD")

    found = {
        name: sources.resolve(repository.url, name)
        for name in ("main", "stable", "1.0.0", "refs/tags/1.0.0", "refs/heads/main", "", head, head[:9])
    }

    assert {name for name, commit in found.items() if commit == first} == {"stable", "1.0.0", "refs/tags/1.0.0"}
    assert {name for name, commit in found.items() if commit == head} == {
        "main",
        "refs/heads/main",
        "",
        head,
        head[:9],
    }


def test_a_tag_wins_over_a_branch(sources: GitSources, repository: Repository, events: list[Event]) -> None:
    """A name that is both is the tag, as for git, and a warning says so."""
    repository.git("branch", "1.0.0", "main")

    commit = sources.resolve(repository.url, "1.0.0")

    assert commit == repository.git("rev-parse", "refs/tags/1.0.0^{commit}")
    assert [type(event) for event in events] == [Warned]


@pytest.mark.parametrize("revision", ["nothing", "0" * 40, "abcdef1", "--upload-pack=touch x", "two words"])
def test_unknown_revisions(sources: GitSources, repository: Repository, revision: str) -> None:
    """What is not there is an error that names repository and revision, and nothing odd is run."""
    with pytest.raises(GitError) as caught:
        sources.resolve(repository.url, revision)
    assert repository.url in caught.value.message
    assert revision.split(maxsplit=1)[0] in caught.value.message


@pytest.mark.parametrize(
    "url", ["--upload-pack=x", "ext::sh -c true", "ftp://host.example/x", "https://a:b@h.example/x"]
)
def test_unusable_urls(sources: GitSources, url: str) -> None:
    """Options, helpers that run programs and URLs with passwords are refused."""
    with pytest.raises(GitError) as caught:
        sources.resolve(url, "main")
    assert "a:b" not in caught.value.message


def test_a_missing_repository(sources: GitSources, tmp_path: Path) -> None:
    """A repository that is not there is not tried again and again."""
    with pytest.raises(GitError, match=r"does not appear|not found|does not exist"):
        sources.resolve((tmp_path / "none").as_uri(), "main")


def test_a_checkout_is_whole(sources: GitSources, repository: Repository, tmp_path: Path) -> None:
    """The tree is at the commit, with history and tags, and stands without the mirror."""
    tree = sources.checkout(source(repository), tmp_path / "tree")

    assert (tree / "setup.py").read_text() == "two\n"
    described = subprocess.run(["git", "describe", "--tags"], cwd=tree, check=True, capture_output=True, text=True)
    assert described.stdout.startswith("1.0.0-1-g")
    assert len(described.stdout.strip().rpartition("-g")[2]) == 10
    assert not (tree / ".git" / "objects" / "info" / "alternates").exists()


@pytest.mark.slow
def test_a_checkout_is_the_same_everywhere(store: Store, repository: Repository, tmp_path: Path) -> None:
    """Umask, line-ending settings and hooks of the user change nothing; modes and times are fixed."""
    repository.git("update-index", "--chmod=+x", "run.sh")
    repository.git("commit", "--quiet", "-m", "executable")
    config = tmp_path / "gitconfig"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text("#!/bin/sh\necho hooked > hooked\n")
    (hooks / "post-checkout").chmod(0o755)
    config.write_text(f"[core]\n\tautocrlf = true\n\thooksPath = {hooks}\n")
    script = """
import os, sys
from pathlib import Path
from bundler.model.lock import GitSource
from bundler.sources.git import GitSources
from bundler.store.cas import Store
os.umask(int(sys.argv[1], 8))
GitSources(Store(Path(sys.argv[2]))).checkout(GitSource(url=sys.argv[3], commit=sys.argv[4]), Path(sys.argv[5]))
"""
    found = []
    for umask, settings in (("022", "/dev/null"), ("077", str(config))):
        into = tmp_path / f"tree-{umask}"
        arguments = [umask, str(store.root / umask), repository.url, repository.git("rev-parse", "HEAD"), str(into)]
        env = {**os.environ, "GIT_CONFIG_GLOBAL": settings, "GIT_DIR": "/nowhere"}
        subprocess.run([sys.executable, "-c", script, *arguments], check=True, env=env)
        found.append(snapshot(into))

    assert found[0] == found[1]
    assert [(name, oct(mode)) for name, mode, _, _ in found[0]] == [
        ("run.sh", "0o755"),
        ("setup.py", "0o644"),
        ("sub", "0o755"),
        ("sub/inner.txt", "0o644"),
    ]
    assert {time for _, _, time, _ in found[0]} == {1767323045}


def test_an_old_commit_needs_no_network(sources: GitSources, repository: Repository, tmp_path: Path) -> None:
    """What is mirrored is checked out although the repository is gone."""
    wanted = source(repository)
    sources.fetch_all([wanted])
    repository.path.rename(tmp_path / "moved")

    tree = sources.checkout(wanted, tmp_path / "tree")

    assert (tree / "setup.py").read_text() == "two\n"
    assert sources.commit_time(wanted) == 1767323045


def test_a_commit_that_left_its_branch_is_kept(sources: GitSources, repository: Repository, tmp_path: Path) -> None:
    """A forced push does not take a locked commit away from us, and new commits still arrive."""
    old = source(repository)
    sources.fetch_all([old])
    repository.git("reset", "--quiet", "--hard", "1.0.0")
    new = source(repository, repository.commit({"setup.py": "three\n"}))

    sources.fetch_all([new])

    assert (sources.checkout(old, tmp_path / "old") / "setup.py").read_text() == "two\n"
    assert (sources.checkout(new, tmp_path / "new") / "setup.py").read_text() == "three\n"


def test_a_commit_on_no_branch_is_asked_for(sources: GitSources, repository: Repository, tmp_path: Path) -> None:
    """A change under review, on no branch, is fetched by its SHA where the server allows."""
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    commit = repository.commit({"setup.py": "review\n"})
    repository.git("update-ref", "refs/changes/01/1/1", commit)
    repository.git("reset", "--quiet", "--hard", "HEAD~1")

    assert sources.resolve(repository.url, "refs/changes/01/1/1") == commit
    tree = sources.checkout(source(repository, commit), tmp_path / "tree")
    assert (tree / "setup.py").read_text() == "review\n"


def test_a_missing_commit_is_named(sources: GitSources, repository: Repository, tmp_path: Path) -> None:
    """The error has repository and SHA."""
    with pytest.raises(GitError, match="has no commit") as caught:
        sources.checkout(source(repository, "1" * 40), tmp_path / "tree")
    assert repository.url in caught.value.message
    assert "1" * 40 in caught.value.message


def test_a_late_tag_arrives(sources: GitSources, repository: Repository, tmp_path: Path) -> None:
    """A tag set after its commit was mirrored is there when it is asked for by name: versions are made from it."""
    sources.fetch_all([source(repository)])
    repository.git("tag", "-a", "2.0.0", "-m", "release")

    commit = sources.resolve(repository.url, "2.0.0")
    tree = sources.checkout(source(repository, commit), tmp_path / "tree")

    described = subprocess.run(["git", "describe", "--tags"], cwd=tree, check=True, capture_output=True, text=True)
    assert described.stdout == "2.0.0\n"


def test_a_subdirectory(sources: GitSources, repository: Repository, tmp_path: Path) -> None:
    """The source tree may lie below the repository's root, and nowhere else."""
    assert (sources.checkout(source(repository, subdirectory="sub"), tmp_path / "a") / "inner.txt").is_file()
    for bad in ("none", "../upstream"):
        with pytest.raises(GitError, match="has no directory"):
            sources.checkout(source(repository, subdirectory=bad), tmp_path / f"b{len(bad)}")


@pytest.fixture
def parent(repository: Repository) -> Repository:
    """Return a repository with the other one as a submodule, by a relative URL."""
    made = type(repository)(repository.path.parent / "parent")
    made.git("submodule", "--quiet", "add", "--", repository.url, "vendor/demo")
    made.git("config", "-f", ".gitmodules", "submodule.vendor/demo.url", "../demo")
    made.commit({"top.txt": "top\n"})
    return made


def test_submodules_are_refused(sources: GitSources, parent: Repository, tmp_path: Path) -> None:
    """Unless asked for, a commit with submodules is an error that names them."""
    with pytest.raises(GitError, match="vendor/demo") as caught:
        sources.checkout(source(parent), tmp_path / "tree")
    assert "submodules" in caught.value.hint
    assert not (tmp_path / "tree").exists()


def test_submodules_are_placed_if_asked(sources: GitSources, parent: Repository, tmp_path: Path) -> None:
    """Asked for, they come from mirrors of their own, at the commit that the parent names."""
    tree = sources.checkout(replace(source(parent), submodules=True), tmp_path / "tree")

    assert (tree / "vendor" / "demo" / "setup.py").read_text() == "two\n"
    assert {time for name, _, time, _ in snapshot(tree)} == {1767323045}


def test_submodules_are_fetched_before_they_are_placed(
    store: Store, sources: GitSources, parent: Repository, tmp_path: Path
) -> None:
    """What is fetched is enough for a checkout elsewhere, without the repositories and without credentials."""
    wanted = replace(source(parent), submodules=True)
    sources.fetch_all([wanted])
    for repository in parent.path.parent.iterdir():
        repository.rename(tmp_path / f"gone-{repository.name}")
    tree = GitSources(store, retry=QUICK).checkout(wanted, tmp_path / "tree")

    assert (tree / "vendor" / "demo" / "setup.py").read_text() == "two\n"


def test_a_file_is_shown(sources: GitSources, repository: Repository) -> None:
    """A constraint layer's file is read at a revision, with the commit that it was."""
    commit, data = sources.show_file(repository.url, "1.0.0", "setup.py")

    assert (commit, data) == (repository.git("rev-parse", "1.0.0^{commit}"), b"one\n")
    with pytest.raises(GitError, match="has no file none"):
        sources.show_file(repository.url, "1.0.0", "none")


def test_trouble_is_retried(
    sources: GitSources, git_server: GitServer, repository: Repository, tmp_path: Path
) -> None:
    """A server that fails twice and then works costs time only."""
    git_server.failures = 2
    url = f"{git_server.url}/demo/.git"

    commit = sources.resolve(url, "main")
    git_server.failures = 2
    tree = sources.checkout(GitSource(url=url, commit=commit), tmp_path / "tree")

    assert (tree / "setup.py").read_text() == "two\n"
    assert git_server.failures == 0


def test_lasting_trouble_is_reported_together(
    sources: GitSources, git_server: GitServer, repository: Repository
) -> None:
    """All repositories that cannot be had are in one report, the others are mirrored."""
    commit = repository.git("rev-parse", "HEAD")
    git_server.failures = 1000
    wanted = [GitSource(url=f"{git_server.url}/{name}", commit=commit) for name in ("a", "b")]

    with pytest.raises(GitError, match="2 git repositories") as caught:
        sources.fetch_all([*wanted, source(repository)])

    assert all("503" in problem.what for problem in caught.value.problems)
    assert sources.commit_time(source(repository)) == 1767323045


def test_passwords_reach_the_server_only(
    store: Store, git_server: GitServer, repository: Repository, tmp_path: Path, events: list[Event]
) -> None:
    """A password of netrc opens the repository and is found neither in the store nor in events nor in errors."""
    git_server.login = "me:s3cret-word"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret-word\n")
    netrc.chmod(0o600)
    url = f"{git_server.url}/demo/.git"
    known = Credentials(IndexConfig(), environ={"NETRC": str(netrc)})

    with_password = GitSources(store, events.append, credentials=known, retry=QUICK)
    commit = with_password.resolve(url, "main")
    with_password.checkout(GitSource(url=url, commit=commit), tmp_path / "tree")
    git_server.login = "me:other-word"
    with pytest.raises(GitError) as caught:
        with_password.resolve(url, "stable")

    assert "netrc" in caught.value.hint
    shown = repr(events) + repr(caught.value) + repr(caught.value.__cause__)
    held = [path for place in (store.root, tmp_path / "tree") for path in place.rglob("*") if path.is_file()]
    assert "s3cret-word" not in shown
    assert [path for path in held if b"s3cret-word" in path.read_bytes()] == []


def test_a_killed_git_does_not_block(
    sources: GitSources, store: Store, repository: Repository, tmp_path: Path
) -> None:
    """Lock files that a killed fetch left in the mirror are cleared by the next one."""
    sources.fetch_all([source(repository)])
    mirror = next((store.root / "git").glob("*.git"))
    for name in ("packed-refs.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_x"):
        (mirror / name).parent.mkdir(parents=True, exist_ok=True)
        (mirror / name).touch()
    new = source(repository, repository.commit({"setup.py": "three\n"}))

    sources.fetch_all([new])

    assert (sources.checkout(new, tmp_path / "tree") / "setup.py").read_text() == "three\n"
    assert not list(mirror.rglob("tmp_pack_*"))


def test_a_half_made_mirror_is_made_anew(
    sources: GitSources, store: Store, repository: Repository, tmp_path: Path
) -> None:
    """A directory without HEAD, whatever made it, does not stop us."""
    sources.fetch_all([source(repository)])
    mirror = next((store.root / "git").glob("*.git"))
    (mirror / "HEAD").unlink()
    (mirror / "refs" / "bundle" / repository.git("rev-parse", "HEAD")).unlink()

    assert sources.checkout(source(repository), tmp_path / "tree").is_dir()


def test_figures(sources: GitSources, repository: Repository, events: list[Event]) -> None:
    """The stage says how many repositories there were and how many needed no network."""
    wanted = source(repository)
    sources.fetch_all([wanted])
    sources.fetch_all([wanted])

    assert [(event.items, event.reused) for event in events if isinstance(event, StageFinished)] == [(1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("base", "url", "absolute"),
    [
        ("https://git.example/org/repo", "../other", "https://git.example/org/other"),
        ("https://git.example/org/repo/", "./inner", "https://git.example/org/repo/inner"),
        ("git@git.example:org/repo", "../other", "git@git.example:org/other"),
        ("git@git.example:org/repo", "../../x/other", "git@git.example:x/other"),
        ("/srv/git/repo", "../other", "/srv/git/other"),
        ("https://git.example/org/repo", "https://b.example/x", "https://b.example/x"),
    ],
)
def test_submodule_urls(base: str, url: str, absolute: str) -> None:
    """A relative URL of a submodule is taken from its parent's, as git does."""
    assert submodule_url(base, url) == absolute


@pytest.mark.parametrize("url", ["/etc", "file:///srv/private"])
def test_a_submodule_on_this_machine_is_refused(url: str) -> None:
    """A repository from elsewhere cannot make us read one that is private here."""
    with pytest.raises(GitError, match="on this machine"):
        submodule_url("https://git.example/org/repo", url)
