"""`bundle-build diff`: what changed from one bundle to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.model.bundle_diff import diff_contents
from bundler.model.contents import Contents
from bundler.model.contents_json import parse_contents

Run = Callable[..., Any]


@pytest.fixture
def old(release: Callable[..., Any], wheel: Callable[..., Any], tmp_path: Path) -> Path:
    gone, same = wheel("gone"), wheel("again")
    path: Path = release(gone, same, wheel("up", "1.9"), wheel("down", "2.0")).write(tmp_path / "old")
    return path


@pytest.fixture
def new(release: Callable[..., Any], wheel: Callable[..., Any], tmp_path: Path) -> Path:
    again = wheel("again", files={"again/more.py": b"X = 1\n"})
    wheels = [wheel("fresh"), again, wheel("up", "1.10"), wheel("down", "1.0")]
    path: Path = release(*wheels, sequence=1795123999).write(tmp_path / "new")
    return path


def contents_of(bundle: Path) -> Contents:
    return parse_contents((bundle / "bundle.json").read_bytes())


def test_each_change_of_a_package_has_its_word(old: Path, new: Path, bundle_build: Run) -> None:
    """Added, removed, upgraded, downgraded (1.10 is newer than 1.9) and rebuilt are told per venv and target."""
    data = bundle_build("diff", old, new, "--json").data

    assert [(venv["venv"], venv["target"], venv["change"]) for venv in data["venvs"]] == [
        ("nova", "debian-12-x86_64", "changed"),
        ("nova", "ubuntu-24.04-x86_64", "changed"),
    ]
    changes = {one["name"]: (one["change"], one["old"], one["new"]) for one in data["venvs"][0]["packages"]}
    assert changes == {
        "again": ("rebuilt", "1.0", "1.0"),
        "down": ("downgraded", "2.0", "1.0"),
        "fresh": ("added", "", "1.0"),
        "gone": ("removed", "1.0", ""),
        "up": ("upgraded", "1.9", "1.10"),
    }


def test_files_are_added_removed_and_changed(old: Path, new: Path, bundle_build: Run) -> None:
    """Wheels come and go by name; a rebuilt wheel and the archive around it are changed; the rest is not named."""
    files = bundle_build("diff", old, new, "--json").data["files"]

    found = {(one["change"], one["path"].rpartition("/")[2]) for one in files}
    assert found == {
        ("added", "fresh-1.0-py3-none-any.whl"),
        ("added", "up-1.10-py3-none-any.whl"),
        ("added", "down-1.0-py3-none-any.whl"),
        ("removed", "gone-1.0-py3-none-any.whl"),
        ("removed", "up-1.9-py3-none-any.whl"),
        ("removed", "down-2.0-py3-none-any.whl"),
        ("changed", "again-1.0-py3-none-any.whl"),
        ("changed", "nova-1.tar.zst"),
    }


def test_needed_bytes_are_the_blobs_that_a_site_lacks(old: Path, new: Path, bundle_build: Run) -> None:
    """What a site with OLD must get is counted in blobs, their bytes, and their bytes on the medium."""
    has = {digest for file in contents_of(old).files for digest in file.blobs}
    lacks = [blob for volume in contents_of(new).volumes for blob in volume.blobs if blob.sha256 not in has]

    total, debian, ubuntu = bundle_build("diff", old, new, "--json").data["needed"]

    assert total["target"] == ""
    assert (total["blobs"], total["size"], total["packed"]) == (
        len(lacks),
        sum(blob.size for blob in lacks),
        sum(blob.length for blob in lacks),
    )
    assert debian["blobs"] == ubuntu["blobs"] == total["blobs"] == 8
    assert total["elsewhere"] == 0


def test_exit_status_tells_differences_only_when_asked(old: Path, new: Path, bundle_build: Run) -> None:
    """Differences end with 0, with --exit-code with 1; a bundle compared with itself with 0."""
    assert bundle_build("diff", old, new).status == 0
    assert bundle_build("diff", old, new, "--exit-code").status == 1
    assert bundle_build("diff", new, new, "--exit-code").status == 0


def test_a_new_sequence_alone_is_no_difference(
    release: Callable[..., Any], tmp_path: Path, bundle_build: Run
) -> None:
    """The same content locked again differs in its sequence only, which changes nothing at a site."""
    one = release().write(tmp_path / "one")
    two = release(sequence=1795125555).write(tmp_path / "two")

    ran = bundle_build("diff", one, two, "--exit-code")

    assert ran.status == 0
    assert "No package changed." in ran.text


def test_text_groups_a_change_over_targets(old: Path, new: Path, bundle_build: Run) -> None:
    """For people one line tells a change that happened on both targets, and --files lists files."""
    text = bundle_build("diff", old, new, "--files").text

    lines = [line.split() for line in text.splitlines()]
    assert ["upgraded", "up", "1.9", "1.10", "nova", "on", "2", "targets"] in lines
    assert any(line[:1] == ["changed"] and line[1].endswith("/nova-1.tar.zst") for line in lines if len(line) > 1)
    assert "Files: 6 added, 6 removed, 4 changed" in text


def test_facts_of_a_venv_are_told(release: Callable[..., Any], tmp_path: Path, bundle_build: Run) -> None:
    """Another Python and another outcome of the proof are changes of the venv."""
    one = release().write(tmp_path / "one")
    two = release(python="3.11.9", accepted={"nova-x": "optional"}).write(tmp_path / "two")

    venv = bundle_build("diff", one, two, "--json").data["venvs"][0]

    assert {fact["fact"]: (fact["old"], fact["new"]) for fact in venv["facts"]} == {
        "python": ("3.11.2", "3.11.9"),
        "proof": ("host, passed, 0 failures allowed", "host, passed, 1 failures allowed"),
    }


def test_wheels_of_no_venv_are_compared_too(
    release: Callable[..., Any], wheel: Callable[..., Any], tmp_path: Path
) -> None:
    """A wheel that only lies in the wheel folder is told under an empty venv."""
    one = contents_of(release().write(tmp_path / "one"))
    two = contents_of(release(loose=[wheel("pip", "26.1")]).write(tmp_path / "two"))

    (change,) = diff_contents(one, two).venvs

    assert (change.venv, change.target, change.change) == ("", "debian-12-x86_64", "added")
    assert [(one.name, one.new) for one in change.packages] == [("pip", "26.1")]


def test_the_wrong_order_is_warned_about(old: Path, new: Path, bundle_build: Run) -> None:
    """OLD and NEW the wrong way round still compare, with a warning."""
    assert "is the newer of the two" in bundle_build("diff", new, old).err
