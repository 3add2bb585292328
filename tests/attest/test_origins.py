"""Addresses fit for publication."""

from __future__ import annotations

import pytest

from bundler.attest.origins import origin_digest, origin_uri, public_url
from bundler.model.lock import Artifact, DirectorySource, GitSource


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:secret@index.example/a/b-1.whl?token=secret#sha256=1", "https://index.example/a/b-1.whl"),
        ("https://index.example:8443/b.whl", "https://index.example:8443/b.whl"),
        ("file:///home/me/wheels/b-1.whl", "b-1.whl"),
        ("/home/me/constraints.txt", "constraints.txt"),
        ("constraints/user.txt", "constraints/user.txt"),
        ("git@git.example:group/project.git", "ssh://git.example/group/project.git"),
        ("git+https://secret@git.example/p@abc#file.txt", "git+https://git.example/p@abc#file.txt"),
    ],
)
def test_nothing_private_is_published(url: str, expected: str) -> None:
    """Credentials, tokens and directories of the build host are left out of an address."""
    assert public_url(url) == expected


def test_each_origin_has_an_address_and_a_digest() -> None:
    """Files go by SHA-256, git sources by commit, directories by path."""
    wheel = Artifact(name="a.whl", url="https://index.example/a.whl", sha256="1" * 64)
    git = GitSource(url="https://me@git.example/p.git", commit="c" * 40, subdirectory="sub")
    tree = DirectorySource(path="../src", sha256="2" * 64)

    assert [origin_uri(one) for one in (wheel, git, tree)] == [
        "https://index.example/a.whl",
        f"git+https://git.example/p.git@{'c' * 40}#sub",
        "../src",
    ]
    assert [origin_digest(one) for one in (wheel, git, tree)] == [
        {"sha256": "1" * 64},
        {"gitCommit": "c" * 40},
        {"sha256": "2" * 64},
    ]
