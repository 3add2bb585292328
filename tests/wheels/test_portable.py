"""When a wheel that was built for one target serves another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bundler.model.lock import Artifact, LockedPackage
from bundler.model.target import known_target
from bundler.model.wheel import Wheel
from bundler.wheels.portable import Sample, proved

ORIGIN = Artifact(name="demo-1.0.tar.gz", url="https://index.example/demo-1.0.tar.gz", sha256="0" * 64)
WHEEL = Wheel(
    name="demo",
    version="1.0",
    filename="demo-1.0-py3-none-any.whl",
    digest="1" * 64,
    size=1,
    kind="sdist",
    origin=ORIGIN,
)


def tool(version: str, digest: str = "2") -> LockedPackage:
    origin = replace(ORIGIN, sha256=digest * 64)
    return LockedPackage(name="tool", version=version, kind="wheel", origin=origin)


def sample(name: str, wheel: Wheel = WHEEL, tools: tuple[LockedPackage, ...] = (tool("1"),)) -> Sample:
    return Sample(target=name, system=known_target(name), requirements=tools, wheel=wheel)


def test_identical_any_wheels_of_two_systems_prove_it() -> None:
    """Debian 12 and 13 agree on every byte: a third target may have it, its own files of the same tools or not."""
    samples = [sample("debian-12-x86_64"), sample("debian-13-x86_64")]

    assert proved(samples, [tool("1", "9")]) is WHEEL


NATIVE = replace(WHEEL, filename="demo-1.0-cp311-cp311-linux_x86_64.whl")
ABI = replace(WHEEL, filename="demo-1.0-py3-none-linux_x86_64.whl")
OTHER = replace(WHEEL, digest="3" * 64)


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param([], id="no build"),
        pytest.param([sample("debian-12-x86_64")], id="one build"),
        pytest.param([sample("debian-12-x86_64"), sample("debian-12-x86_64-py312")], id="one system, two Pythons"),
        pytest.param([sample("debian-12-x86_64"), sample("debian-12-aarch64")], id="one distribution, two machines"),
        pytest.param([sample("debian-12-x86_64"), sample("debian-13-x86_64", OTHER)], id="they differ"),
        pytest.param(
            [sample("debian-12-x86_64"), sample("debian-13-x86_64"), sample("ubuntu-24.04-x86_64", OTHER)],
            id="the third differs",
        ),
        pytest.param([sample("debian-12-x86_64", NATIVE), sample("debian-13-x86_64", NATIVE)], id="of one Python"),
        pytest.param([sample("debian-12-x86_64", ABI), sample("debian-13-x86_64", ABI)], id="of one machine"),
        pytest.param(
            [sample("debian-12-x86_64", tools=(tool("2"),)), sample("debian-13-x86_64", tools=())],
            id="built with other tools",
        ),
    ],
)
def test_anything_less_proves_nothing(samples: list[Sample]) -> None:
    """Every further target is built for."""
    assert proved(samples, [tool("1")]) is None
