"""Choosing build environments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundler.buildenv.drivers import choose_environments
from bundler.buildenv.host_target import host_target
from bundler.errors import UsageError
from bundler.model.target import Python, known_target


def test_the_host_serves_itself_and_its_other_pythons(tmp_path: Path) -> None:
    """The host's own target comes first; another Python of the same system is served if it is installed."""
    own = host_target()
    other = replace(own, name=f"{own.name}-py399", python=Python(full_version="3.99.0", executable="/bin/sh"))
    absent = replace(own, name="absent", python=Python(full_version="3.98.0", executable="/usr/bin/python3.98"))
    foreign = known_target("rocky-9-aarch64")
    found = choose_environments("host", [foreign, absent, other, own], tmp_path)

    assert list(found) == [own.name, other.name]
    assert found[other.name].target == other


def test_an_unknown_driver_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """The hint lists the drivers."""
    with pytest.raises(UsageError, match="there is no build environment 'moon'") as caught:
        choose_environments("moon", [], tmp_path)

    assert "host" in caught.value.hint
