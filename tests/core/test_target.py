"""Targets: names as OpenStack-Ansible derives them, tags and markers of the system they mean."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import ManifestError
from bundler.model.target import Python, Target, known_target, make_target
from bundler.model.target_names import ARCHES, DISTROS

NAMES = [f"{system}-{arch}" for system in sorted(DISTROS) for arch in ARCHES]


def osa_name(distribution: str, version: str, arch: str) -> str:
    """Return the name as the python_venv_build role's expression gives it: two-part version on Ubuntu only."""
    parts = version.split(".")
    short = ".".join(parts[:2]) if distribution == "Ubuntu" else parts[0]
    return f"{distribution}-{short}-{arch}".lower().replace(" ", "_")


@pytest.mark.parametrize(
    ("distribution", "version", "arch"),
    [
        ("Debian", "12.11", "x86_64"),
        ("Debian", "13", "aarch64"),
        ("Ubuntu", "24.04", "aarch64"),
        ("Ubuntu", "22.04", "x86_64"),
        ("Rocky", "10.0", "x86_64"),
        ("CentOS", "9", "x86_64"),
        ("RedHat", "9.4", "x86_64"),
        ("AlmaLinux", "9.5", "aarch64"),
    ],
)
def test_names_are_those_of_openstack_ansible(distribution: str, version: str, arch: str) -> None:
    """What the role derives from a system's facts is a target that we know, under the same name."""
    name = osa_name(distribution, version, arch)

    assert known_target(name).name == name


@given(st.sampled_from(NAMES), st.integers(min_value=8, max_value=15))
def test_a_second_python_is_a_target_of_its_own(name: str, minor: int) -> None:
    """A Python that is not the distro's default adds its suffix; the default one, even if named, does not."""
    target = known_target(f"{name}-py3{minor}")

    default = known_target(name)
    own = default.python.version == f"3.{minor}"
    assert target.name == (name if own else f"{name}-py3{minor}")
    assert target.python.version == f"3.{minor}"
    assert target.python.executable == f"/usr/bin/python3.{minor}"
    assert known_target(target.name).name == target.name


@pytest.mark.parametrize(
    "name", ["", "debian", "debian-12", "debian-12.11-x86_64", "debian-12-riscv64", "../x-1-x86_64"]
)
def test_other_names_are_refused(name: str) -> None:
    """A name of another form, or of an unknown system, is refused with what would be right."""
    with pytest.raises(ManifestError) as caught:
        known_target(name)

    assert caught.value.hint


@given(st.one_of(st.text(max_size=30), st.from_regex(r"[a-z]+-[0-9.]+-[a-z0-9_]+(-py[0-9]+)?", fullmatch=True)))
def test_any_name_is_known_or_refused(name: str) -> None:
    """No text makes the parser fail in another way; what it accepts keeps system and architecture."""
    try:
        target = known_target(name)
    except ManifestError:
        return
    assert name.startswith(f"{target.distro}-{target.version}-{target.arch}")


def platforms(target: Target) -> list[str]:
    return list(dict.fromkeys(tag.platform for tag in target.tags))


@given(st.sampled_from(NAMES))
def test_tags_reach_to_the_targets_glibc_and_no_further(name: str) -> None:
    """Tags up to the target's glibc are accepted, newer ones and those of other systems are not."""
    target = known_target(name)
    found = platforms(target)
    versions = [int(match[1]) for text in found if (match := re.fullmatch(rf"manylinux_2_(\d+)_{target.arch}", text))]

    assert max(versions) == target.glibc[1]
    assert versions == sorted(versions, reverse=True)
    assert f"manylinux2014_{target.arch}" in found
    assert all(text == "any" or text.endswith(f"_{target.arch}") for text in found)
    assert not any(text.startswith("musllinux") for text in found)


def test_legacy_tags_belong_to_the_architectures_that_have_them() -> None:
    """manylinux1 exists for x86_64 only."""
    assert "manylinux1_x86_64" in platforms(known_target("debian-12-x86_64"))
    assert "manylinux1_aarch64" not in platforms(known_target("debian-12-aarch64"))


def test_tags_are_those_of_the_targets_python() -> None:
    """Own ABI first, abi3 of older Pythons, pure Python last; nothing of a newer Python."""
    tags = [str(tag) for tag in known_target("debian-12-x86_64").tags]

    assert tags[0] == "cp311-cp311-manylinux_2_36_x86_64"
    assert "cp38-abi3-manylinux_2_17_x86_64" in tags
    assert tags.index("cp311-cp311-linux_x86_64") < tags.index("py3-none-any")
    assert not any(tag.startswith(("cp312", "py312")) for tag in tags)
    assert len(tags) == len(set(tags))


def test_markers_are_the_targets_not_the_hosts() -> None:
    """Every marker variable that depends on the system has the target's value."""
    markers = known_target("ubuntu-22.04-aarch64").markers

    assert markers["python_version"] == "3.10"
    assert markers["python_full_version"] == markers["implementation_version"] == "3.10.12"
    assert (markers["platform_machine"], markers["sys_platform"]) == ("aarch64", "linux")
    assert markers["platform_release"] == markers["platform_version"] == ""


def test_an_unknown_system_gets_a_name_without_suffix() -> None:
    """A host outside the table is named after itself, with its own Python as the default."""
    python = Python(full_version="3.14.1", executable="/usr/bin/python3.14")

    target = make_target("fedora", "44", "x86_64", python, (2, 43))

    assert (target.name, python.version, python.tag) == ("fedora-44-x86_64", "3.14", "cp314")
