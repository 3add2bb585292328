"""Choosing build environments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundler.buildenv.drivers import open_environment
from bundler.buildenv.host_target import host_target
from bundler.buildenv.port import EnvironmentSpec
from bundler.buildenv.systems import Systems, SystemsRequest
from bundler.errors import UsageError
from bundler.model.target import Python, known_target
from bundler.store.cas import Store


def test_this_host_serves_its_own_system_and_root_file_systems_all_others(tmp_path: Path) -> None:
    """With auto another Python of this system is this host's too; strict proofs are never on the host itself."""
    own = host_target()
    other = replace(own, name=f"{own.name}-py399", python=Python(full_version="3.99.0", executable="/bin/sh"))
    foreign = known_target("rocky-9-aarch64")
    store = Store(tmp_path)
    lax, strict = (Systems(SystemsRequest(host=own, strict=strict), store) for strict in (False, True))

    assert [lax.driver(target) for target in (own, other, foreign)] == ["host", "host", "rootfs"]
    assert [strict.driver(target) for target in (own, foreign)] == ["rootfs", "rootfs"]


def test_an_environment_is_opened_again_from_its_plain_value(tmp_path: Path) -> None:
    """What another process gets is the same driver for the same target."""
    spec = EnvironmentSpec(driver="host", target=host_target(), scratch=tmp_path)
    opened = open_environment(spec)

    assert (opened.name, opened.spec, opened.target) == ("host", spec, spec.target)


def test_an_unknown_driver_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """The hint lists the drivers."""
    with pytest.raises(UsageError, match="there is no build environment 'moon'") as caught:
        open_environment(EnvironmentSpec(driver="moon", target=host_target(), scratch=tmp_path))

    assert "host" in caught.value.hint
