"""Traps of OpenStack-Ansible's role that were seen in the field: each is shown with pip, and how we stay out of it.

Others have tests elsewhere: git sources in tests/repotree/test_role_files.py, digests of the page of wheels in
tests/repotree/test_static_index.py, layers that contradict each other in tests/constraints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.bundle.reader import open_bundle
from bundler.model.openstack_ansible import must_be_named, named_item
from tests.release.conftest import World, built, shared
from tests.repotree.conftest import HERE, ROOT, Bench, Client, Server, bench, client, serving

__all__ = ["bench", "built", "client", "shared"]


@pytest.fixture
def repo(bench: Bench, tmp_path: Path) -> Iterator[Server]:
    """Give a repo host with foo 1.0."""
    root = bench.lay_out(tmp_path / "repo", [HERE], bench.set(HERE, bench.wheel("foo", "1.0")))
    yield from serving(root, negotiating=False)


@pytest.fixture
def elsewhere(bench: Bench, tmp_path: Path) -> Iterator[Server]:
    """Give an index elsewhere that has foo 1.0 too."""
    other = bench.set(HERE, bench.wheel("foo", "1.0", python=">=3.8"))
    root = bench.lay_out(tmp_path / "elsewhere", [HERE], other)
    yield from serving(root, negotiating=False)


def test_an_index_wins_over_find_links(repo: Server, elsewhere: Server, client: Client) -> None:
    """At equal versions pip takes the wheel of the index: only --no-index makes the repo host the source."""
    page = ("--isolated", "--find-links", f"{repo.url}/{ROOT}/{HERE}/wheels/")
    client.pip(*page, "--target", "default", "--index-url", f"{elsewhere.url}/{ROOT}/{HERE}/simple/", "foo")
    taken = [server.asked(".whl") != [] for server in (repo, elsewhere)]
    client.pip(*page, "--target", "offline", "--no-index", "foo")

    assert taken == [False, True]
    assert repo.asked(".whl") != []


def test_constraints_are_met_all(repo: Server, client: Client) -> None:
    """Pins do not override upper constraints: pip wants both, and has no version then."""
    for name, line in (("pins", "foo==2.0"), ("upper", "foo===1.0")):
        (client.home / name).write_text(f"{line}\n")
    page = f"{repo.url}/{ROOT}/{HERE}/wheels/"
    said = client.pip(
        "--no-index", "--find-links", page, "-c", "pins", "-c", "upper", "--target", "x", "foo", fails=True
    )

    assert "(constraint) foo==2.0,===1.0" in said or "(constraint) foo===1.0,==2.0" in said, said


@pytest.mark.slow
@pytest.mark.network
def test_constraints_of_a_venv_have_no_hashes(built: World, repo: Server, client: Client) -> None:
    """One hash would make pip want hashes of everything; ours have plain versions, one for each wheel."""
    (client.home / "hashed").write_text(f"foo==1.0 --hash=sha256:{'0' * 64}\n")
    page = f"{repo.url}/{ROOT}/{HERE}/wheels/"
    said = client.pip("--no-index", "--find-links", page, "-c", "hashed", "--target", "x", "foo", fails=True)
    with open_bundle(built.bundle) as bundle:
        paths = [file.path for file in bundle.contents.files if re.search(r"\d-constraints\.txt$", file.path)]
        texts = [b"".join(bundle.stream_file(path)).decode() for path in paths]

    assert "hash" in said.lower()
    assert len(paths) == 3
    for text in texts:
        assert [line for line in text.splitlines() if not re.fullmatch(r"[a-z0-9_.]+==[a-z0-9.+]+", line)] == []


@pytest.mark.parametrize(
    "item",
    [
        "pyScss @ git+https://git.invalid/x/pyScss@60414f5",
        "git+https://git.invalid/x/pyScss@60414f5",
        "git+https://git.invalid/x/pyScss@60414f5#egg=pyScss&subdirectory=src",
    ],
)
def test_direct_references_get_the_form_that_the_role_rewrites(item: str) -> None:
    """What the role would pass on to pip as it is, or spoil, becomes a plain name by the role's own rule."""

    def rewritten(text: str) -> str:
        return text.rpartition("egg=")[2] if "egg=" in text else re.sub(r"^([^@]*?)\s*@\s?\w*://.*$", r"\1", text)

    assert rewritten(item) != "pyScss"
    assert must_be_named(item)
    assert rewritten(named_item(item, "pyScss")) == "pyScss"
