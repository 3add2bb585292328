"""The manifest's indexes, else pip's own configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundler.errors import ManifestError
from bundler.events import Event, Warned
from bundler.model.manifest import Manifest
from bundler.sources.indexes import index_config, parse_pip_configuration, read_pip_configuration


def manifest(**more: Any) -> Manifest:
    document = {
        "schema": 1,
        "release": {"name": "r", "version": "1"},
        "venvs": {"v": {"path": "/v", "packages": ["x"]}},
    }
    return Manifest.model_validate({**document, **more})


OPTIONS = ("index-url", "cert", "client-cert", "proxy", "timeout", "trusted-host", "no-index", "find-links")


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give pip a configuration file that overrides whatever this machine has."""
    for option in (*OPTIONS, "extra-index-url", "default-timeout"):
        monkeypatch.delenv("PIP_" + option.upper().replace("-", "_"), raising=False)
    path = tmp_path / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    configure(path)
    return path


def configure(pip: Path, **given: str) -> None:
    """Write pip's file: the options that are given, and none of the others."""
    options = {**dict.fromkeys((*OPTIONS, "extra-index-url", "default-timeout"), ""), **given}
    lines = [f"{name.replace('_', '-')} = {value}" for name, value in options.items()]
    pip.write_text("\n".join(["[global]", *lines, ""]))


def test_pip_configuration_is_used(pip: Path, tmp_path: Path, events: list[Event]) -> None:
    """Without indexes in the manifest, pip's index, certificates, proxy and time-out are taken."""
    configure(
        pip,
        **{
            "index-url": "https://index.example/simple",
            "cert": "/ca.pem",
            "client-cert": "/me.pem",
            "proxy": "http://proxy.example:3128",
            "timeout": "99",
            "trusted-host": "a.example\n    b.example:8443",
        },
    )

    config = index_config(manifest(), tmp_path, events.append)

    assert [(index.name, index.url) for index in config.indexes] == [("pip", "https://index.example/simple")]
    assert (config.cert, config.client_cert, config.proxy) == ("/ca.pem", "/me.pem", "http://proxy.example:3128")
    assert config.env["UV_HTTP_TIMEOUT"] == "99"
    assert config.env["UV_INSECURE_HOST"] == "a.example b.example:8443"
    assert config.env["SSL_CERT_FILE"] == "/ca.pem"
    assert events == []


def test_nothing_configured_is_the_default_index(pip: Path, tmp_path: Path, events: list[Event]) -> None:
    """Then the tools' own default is meant, which has no URL here."""
    config = index_config(manifest(), tmp_path, events.append)

    assert [index.url for index in config.indexes] == [None]
    assert dict(config.env) == {}


def test_further_indexes_are_not_used(pip: Path, tmp_path: Path, events: list[Event]) -> None:
    """What pip has as extra-index-url and find-links is left out, with one warning that does not quote it."""
    configure(pip, **{"extra-index-url": "https://me:s3cret-word@more.example/simple", "find-links": "/wheels"})

    config = index_config(manifest(), tmp_path, events.append)

    assert [index.url for index in config.indexes] == [None]
    assert config.folders == ()
    assert len(events) == 1
    assert isinstance(events[0], Warned)
    assert "extra-index-url and find-links" in events[0].message
    assert "manifest" in events[0].hint
    assert "s3cret-word" not in repr(events) + repr(config)


def test_no_index(pip: Path, tmp_path: Path, events: list[Event]) -> None:
    """Told to use no index, only wheel folders are left."""
    configure(pip, **{"no-index": "true"})

    assert index_config(manifest(), tmp_path, events.append).indexes == ()


def test_a_password_leaves_the_url(pip: Path, tmp_path: Path, events: list[Event]) -> None:
    """A password in pip's index-url goes into the environment of the tools and nowhere else."""
    configure(pip, **{"index-url": "https://me:s3cret-word@index.example/simple"})

    config = index_config(manifest(), tmp_path, events.append)

    assert config.indexes[0].url == "https://index.example/simple"
    assert config.env["UV_INDEX_PIP_PASSWORD"] == "s3cret-word"
    assert "s3cret-word" not in repr(config)


def test_the_environment_wins(pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PIP_ variables go over the files, a command's section over the general one."""
    pip.write_text("[global]\ncert = /general\ntimeout = 1\n[install]\ntimeout = 2\n[download]\ntimeout = 3\n")
    monkeypatch.setenv("PIP_CERT", "/environment")

    found = read_pip_configuration()

    assert (found["cert"], found["timeout"]) == ("/environment", "2")


def test_listings_are_parsed() -> None:
    """Quoted values, values of several lines and foreign lines of pip's listing are understood."""
    listing = "global.index-url='https://a.example'\nglobal.trusted-host='\\na\\nb'\n\nnonsense\n:env:.no_index='1'\n"

    assert parse_pip_configuration(listing) == {
        "index-url": "https://a.example",
        "trusted-host": "\na\nb",
        "no-index": "1",
    }


def test_the_manifest_comes_first(pip: Path, tmp_path: Path, events: list[Event]) -> None:
    """Indexes of the manifest replace pip's, keep their order and bindings; pip's certificates still count."""
    configure(pip, **{"index-url": "https://other.example", "cert": "/ca.pem", "find-links": "/w"})
    document = manifest(
        indexes=[
            {"name": "own", "url": "https://own.example/simple", "packages": ["My_Package"]},
            {"name": "public", "url": "https://index.example/simple"},
        ],
        wheel_folders=["wheels"],
    )

    config = index_config(document, tmp_path, events.append)

    assert [index.name for index in config.indexes] == ["own", "public"]
    assert config.bound() == {"my-package": config.indexes[0]}
    assert config.folders == (tmp_path / "wheels",)
    assert config.cert == "/ca.pem"
    assert events == []


def test_bad_indexes_are_all_reported(pip: Path, tmp_path: Path, events: list[Event]) -> None:
    """Passwords in URLs and foreign schemes are refused together, and no password is repeated."""
    document = manifest(
        indexes=[
            {"name": "own", "url": "https://me:s3cret-word@own.example/simple"},
            {"name": "ftp", "url": "ftp://own.example/"},
        ]
    )

    with pytest.raises(ManifestError) as caught:
        index_config(document, tmp_path, events.append)

    text = "\n".join(str(problem) for problem in caught.value.problems)
    assert [problem.where for problem in caught.value.problems] == ["indexes[0].url", "indexes[1].url"]
    assert "UV_INDEX_OWN_PASSWORD" in text
    assert "s3cret-word" not in text
