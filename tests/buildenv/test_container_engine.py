"""The command lines of podman and docker."""

from __future__ import annotations

import csv
import os
import resource
from pathlib import Path

import pytest

from bundler.buildenv.container_engine import CONFINEMENTS, Box, Engine
from bundler.buildenv.limits import Limits

BOX = Box(image="sha256:1234", workspace=Path("/store/work"), cwd="/build/source", limits=Limits(memory=2048))


def options(engine: Engine, box: Box = BOX) -> list[str]:
    """Return the line up to the image."""
    line = engine.line(box, "/build/.end", ["cc", "--version"])
    return line[: line.index(box.image)]


def test_the_command_comes_after_everything_else() -> None:
    """Image, shell, pipe, then the command as it is: none of its words is taken for an option of the engine."""
    line = Engine(name="podman").line(BOX, "/build/.end", ["cc", "--rm", "$HOME"])
    image = line.index(BOX.image)

    assert line[:2] == ["podman", "run"]
    assert line[image + 1] == "-c"
    assert line[image + 3 :] == ["sh", "/build/.end", "cc", "--rm", "$HOME"]


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_containers_are_thrown_away_closed_and_never_fetched(name: str) -> None:
    """Both engines get every option that shuts a build off, and its limits."""
    found = set(options(Engine(name=name)))

    assert found >= {
        "--rm", "--pull=never", "--network=none", "--ipc=private", "--read-only", "--cap-drop=all",
        "--security-opt=no-new-privileges", "--log-driver=none", "--entrypoint=/bin/sh", "--workdir=/build/source",
        "--mount=type=bind,source=/store/work,target=/build", f"--ulimit=data={8 << 30}:{8 << 30}",
        "--ulimit=core=0:0",
        f"--memory={8 << 30}", f"--memory-swap={8 << 30}", f"--cpus={len(os.sched_getaffinity(0))}",
    }  # fmt: skip
    assert not any(word.startswith(("--env", "-e", "--privileged", "--volume", "--name")) for word in found)


def test_engines_differ_in_little() -> None:
    """Podman's defaults can be changed by configuration, so they are given; docker would not know these options."""
    podman, docker = set(options(Engine(name="podman"))), set(options(Engine(name="docker")))

    assert podman - docker == {
        "podman", "--pid=private", "--uts=private", "--http-proxy=false", "--image-volume=ignore", "--no-hosts",
        "--read-only-tmpfs=false",
    }  # fmt: skip
    assert docker - podman == {"docker", "--userns=host"}


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_files_belong_to_who_runs_us(name: str) -> None:
    """With a rootless engine that is the container's root; else the container has our own number."""
    assert f"--user={os.geteuid()}:{os.getegid()}" in options(Engine(name=name))
    rootless = options(Engine(name=name, rootless=True))
    assert "--user=0:0" in rootless
    assert "--userns=host" not in rootless


def test_no_more_is_asked_for_than_we_may_have() -> None:
    """Only root may raise a limit: an engine that tried would fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(65536, hard)

    assert soft <= hard
    assert f"--ulimit=nofile={most}:{most}" in options(Engine(name="podman"))


def test_less_can_be_limited_step_by_step() -> None:
    """Each confinement asks for less; the last, without cgroups, is podman's alone."""
    asked = [
        [
            word.partition("=")[0]
            for word in options(Engine(name="podman"), Box(image="i", workspace=Path("/w"), confinement=one))
        ]
        for one in CONFINEMENTS
    ]
    shared = {"--cpus", "--memory", "--memory-swap", "--pids-limit", "--cgroups"}

    assert [shared & set(words) for words in asked] == [
        {"--cpus", "--memory", "--memory-swap", "--pids-limit"},
        {"--memory", "--memory-swap", "--pids-limit"},
        set(),
        {"--cgroups"},
    ]
    assert Engine(name="docker").confinements() == CONFINEMENTS[:3]
    assert Engine(name="podman").confinements() == CONFINEMENTS


@pytest.mark.parametrize("name", ["a,b", 'with "quotes"', "with spaces", "ä:b"])
def test_a_workspace_may_have_any_name(name: str) -> None:
    """Engines read mounts as CSV: names survive it."""
    line = options(Engine(name="docker"), Box(image="i", workspace=Path("/w") / name))
    mount = next(word for word in line if word.startswith("--mount=")).partition("=")[2]

    assert next(csv.reader([mount])) == ["type=bind", f"source=/w/{name}", "target=/build"]
