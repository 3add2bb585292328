"""Where passwords come from, and that they do not get out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.events import Event, Warned
from bundler.model.index import IndexConfig, IndexSpec
from bundler.sources.credentials import Credentials, Login, origin, redact_text, redact_url, split_login, variables

INDEX = IndexConfig(indexes=(IndexSpec(name="my-index.1", url="https://index.example:8443/simple"),))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://index.example/simple/", "https://index.example/simple/"),
        ("https://me:word@index.example/simple", "https://***@index.example/simple"),
        ("https://token@index.example/x?sig=word#sha256=1", "https://***@index.example/x?***#sha256=1"),
        ("https://me:wo@rd@index.example/", "https://***@index.example/"),
        ("git+https://me:word@git.example/x@abc", "git+https://***@git.example/x@abc"),
        ("http://me:word@[::1", "http:***"),
    ],
)
def test_urls_are_redacted(url: str, shown: str) -> None:
    """Users, passwords and query values of a URL are never shown; the rest is."""
    assert redact_url(url) == shown


def test_texts_are_redacted() -> None:
    """Passwords inside what a program printed are found; addresses with @ in the path are left alone."""
    text = "fatal: unable to access 'https://me:word@git.example/x/': see https://a.example/~b@1"

    assert redact_text(text) == "fatal: unable to access 'https://***@git.example/x/': see https://a.example/~b@1"


def test_variables_follow_uv() -> None:
    """The names are those that uv reads."""
    assert variables("my-index.1") == ("UV_INDEX_MY_INDEX_1_USERNAME", "UV_INDEX_MY_INDEX_1_PASSWORD")


def test_logins_are_split_off() -> None:
    """The user part leaves the URL, decoded."""
    assert split_login("https://m%40e:w%2Frd@h.example:1/x") == ("https://h.example:1/x", Login("m@e", "w/rd"))
    assert split_login("https://h.example/x") == ("https://h.example/x", None)


def test_the_environment_is_per_origin() -> None:
    """An index's variables serve its scheme, host and port, and nothing else."""
    env = {"UV_INDEX_MY_INDEX_1_USERNAME": "me", "UV_INDEX_MY_INDEX_1_PASSWORD": "word"}
    credentials = Credentials(INDEX, environ=env)

    assert credentials.known("https://index.example:8443/files/a.whl") == ("me", "word")
    assert credentials.known("https://index.example/files/a.whl") is None
    assert credentials.known("http://index.example:8443/files/a.whl") is None
    assert origin("https://a.example") == ("https", "a.example", 443)


def test_netrc_is_per_host_and_has_no_default(tmp_path: Path) -> None:
    """An entry of netrc for a host is used; its default would give a password to everybody."""
    path = tmp_path / "netrc"
    path.write_text("machine a.example login me password word\ndefault login x password everywhere\n")
    path.chmod(0o600)
    credentials = Credentials(environ={"NETRC": str(path)})

    assert credentials.known("https://a.example/x") == ("me", "word")
    assert credentials.known("https://b.example/x") is None
    assert "word" in credentials.secrets()


def test_the_home_netrc_is_read(tmp_path: Path) -> None:
    """Without $NETRC it is ~/.netrc."""
    (tmp_path / ".netrc").write_text("machine a.example login me password word\n")
    (tmp_path / ".netrc").chmod(0o600)

    assert Credentials(environ={"HOME": str(tmp_path)}).known("https://a.example/x") == ("me", "word")


def test_a_broken_netrc_is_named_but_not_quoted(tmp_path: Path, events: list[Event]) -> None:
    """The warning has file and line; the line's content could be a password."""
    path = tmp_path / "netrc"
    path.write_text("machine a.example login me password word\ns3cret-word here\n")
    path.chmod(0o600)

    credentials = Credentials(environ={"NETRC": str(path)}, emit=events.append)

    warning = events[0]
    assert isinstance(warning, Warned)
    assert str(path) in warning.message
    assert "s3cret-word" not in warning.message + warning.hint
    assert credentials.known("https://a.example/") is None


def test_nothing_shows_passwords(tmp_path: Path) -> None:
    """The objects that hold passwords do not print them."""
    env = {"UV_INDEX_MY_INDEX_1_USERNAME": "me", "UV_INDEX_MY_INDEX_1_PASSWORD": "s3cret-word"}
    config = IndexConfig(indexes=INDEX.indexes, env=env)

    assert "s3cret-word" not in repr(config) + repr(Credentials(config, environ=env))


def test_no_keyring_is_no_error() -> None:
    """A host without a usable keyring just has no password."""
    assert Credentials(environ={}).find("https://a.example/x") is None
