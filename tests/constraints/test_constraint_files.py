"""Reading layers from files, addresses, git and the manifest, and the groups of venvs that share them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import ConstraintError, FetchFailed
from bundler.model.manifest import ConstraintLayer, GitFile, Manifest
from bundler.sources.constraint_files import MOST_BYTES, LayerReader, layer_groups, read_layers
from bundler.workflows.constraints import constraint_groups, records_of


def fetch(url: str) -> bytes:
    if "lost" in url:
        raise FetchFailed(f"{url}: the server says 404")
    return b"b==2\n"


def read_git(_url: str, _revision: str, path: str) -> tuple[str, bytes]:
    return "0123456789" * 4, f"c==3 # {path}\n".encode()


def manifest(release: list[dict[str, Any]], venvs: Mapping[str, dict[str, Any]]) -> Manifest:
    return Manifest.model_validate(
        {
            "schema": 1,
            "release": {"name": "r", "version": "1"},
            "constraints": release,
            "venvs": {
                name: {"path": f"/opt/{name}", "packages": ["x"], "constraints": constraints}
                for name, constraints in venvs.items()
            },
        }
    )


def test_layers_come_from_every_kind_of_place(tmp_path: Path) -> None:
    """File, address, git and own lines are read, each with location and digest for the lock."""
    (tmp_path / "a.txt").write_text("a==1\n")
    layers = [
        ConstraintLayer(name="user", lines=("d==4", "e==5")),
        ConstraintLayer(name="pins", file="a.txt"),
        ConstraintLayer(name="vendor", url="https://files.example/b.txt?token=hunter2"),
        ConstraintLayer(name="upper", git=GitFile(url="https://git.example/r", revision="main", path="c.txt")),
    ]

    found, records = read_layers(layers, root=tmp_path, fetch=fetch, read_git=read_git)

    assert [[entry.name for entry in layer.entries] for layer in found] == [["d", "e"], ["a"], ["b"], ["c"]]
    assert found[1].entries[0].where == "a.txt:1"
    assert records[1].sha256 == hashlib.sha256(b"a==1\n").hexdigest()
    assert records[3].location == f"https://git.example/r@{'0123456789' * 4}:c.txt"
    assert "hunter2" not in str(records)


def test_everything_unreadable_is_reported_together(tmp_path: Path) -> None:
    """Missing, too large, not UTF-8, unparsable and unreachable layers make one refusal that names each."""
    (tmp_path / "large.txt").write_bytes(b"#" * (MOST_BYTES + 1))
    (tmp_path / "latin.txt").write_bytes(b"a==1\n# caf\xe9\n")
    (tmp_path / "bad.txt").write_bytes(b"a==1\na==2\n")
    names = ("missing.txt", "large.txt", "latin.txt", "bad.txt", ".")
    layers = [ConstraintLayer(name=name[:3], file=name) for name in names]
    layers.append(ConstraintLayer(name="gone", url="https://files.example/lost.txt"))

    with pytest.raises(ConstraintError) as caught:
        read_layers(layers, root=tmp_path, fetch=fetch, read_git=read_git)

    text = "\n".join(str(problem) for problem in caught.value.problems)
    assert "missing.txt: No such file" in text
    assert "larger than 4 MiB" in text
    assert "latin.txt:2: is not UTF-8" in text
    assert "bad.txt:2: a==2 contradicts a==1" in text
    assert "constraint layer .: cannot read ." in text
    assert "constraint layer gone: cannot be had: https://files.example/lost.txt: the server says 404" in text


def test_venvs_with_the_same_layers_are_one_group() -> None:
    """The release's layers make the group `release`; other stacks are called after their first venv."""
    own = {"layers": [{"name": "own", "lines": ["b==1"]}]}
    document = manifest(
        [{"name": "upper", "lines": ["a==1"]}],
        {"one": {}, "two": own, "three": {}, "four": own, "five": {"mode": "replace", **own}},
    )

    groups = layer_groups(document)

    assert [(group.name, group.venvs) for group in groups] == [
        ("release", ("one", "three")),
        ("two", ("two", "four")),
        ("five", ("five",)),
    ]
    assert [[layer.name for layer in group.layers] for group in groups] == [["upper"], ["own", "upper"], ["own"]]


def test_a_venv_called_release_does_not_take_the_groups_name() -> None:
    """A group of other layers is never called `release`."""
    document = manifest([], {"release": {"layers": [{"name": "own", "lines": ["b==1"]}]}, "one": {}})

    assert [group.name for group in layer_groups(document)] == ["release-2", "release"]


def test_a_venvs_layer_stands_above_the_releases(tmp_path: Path) -> None:
    """With mode add the venv's pin wins over the release's, and the other venvs keep theirs."""
    document = manifest(
        [{"name": "upper", "lines": ["a==1", "b==1"]}],
        {"one": {}, "two": {"layers": [{"name": "own", "lines": ["b==2"]}]}},
    )

    groups = constraint_groups(document, LayerReader(root=tmp_path, fetch=fetch, read_git=read_git))

    texts = {group.name: [entry.requirement for entry in group.effective.entries] for group in groups}
    assert texts == {"release": ["a==1", "b==1"], "two": ["a==1", "b==2"]}
    assert [record.name for record in records_of(groups)] == ["upper", "own"]


def test_problems_of_all_groups_are_reported_together(tmp_path: Path) -> None:
    """A bad layer of the release and one of a venv make one refusal; a shared layer is reported once."""
    document = manifest(
        [{"name": "upper", "file": "missing.txt"}],
        {"one": {}, "two": {"layers": [{"name": "own", "lines": ["-r x"]}]}},
    )

    with pytest.raises(ConstraintError) as caught:
        constraint_groups(document, LayerReader(root=tmp_path, fetch=fetch, read_git=read_git))

    assert len(caught.value.problems) == 2
