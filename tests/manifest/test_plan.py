"""The plan: what a manifest means for a venv on a target."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import ManifestError
from bundler.model.manifest import Manifest
from bundler.model.plan import VenvPlan, choose_packages, plan_venvs, target_keys
from bundler.model.target import Target, known_target

DEBIAN = known_target("debian-12-x86_64")
UBUNTU = known_target("ubuntu-24.04-aarch64")
ROCKY = known_target("rocky-9-x86_64")


def manifest(venv: dict[str, Any], **rest: Any) -> Manifest:
    given = {
        "schema": 1,
        "release": {"name": "r", "version": "1"},
        "default_packages": [],
        "venvs": {"a": {"path": "/v/a-1", **venv}},
        **rest,
    }
    return Manifest.model_validate(given)


def plan(target: Target = DEBIAN, **venv: Any) -> VenvPlan:
    (found,) = plan_venvs(manifest(venv), [target])
    return found


def lines(found: VenvPlan) -> list[str]:
    return [one.to_pep508() for one in found.requirements]


def test_enabled_groups_are_added_and_others_are_not() -> None:
    """Only the groups that are enabled count, each once."""
    found = plan(packages=["x"], groups={"g": ["y"], "h": ["z"]}, enable=["g", "g"])

    assert lines(found) == ["x", "y"]


def test_default_packages_are_in_every_venv_unless_it_asks_for_its_own() -> None:
    """A default package is added, but a venv's own requirement for it stands alone."""
    both = {"a": {"path": "/v/a-1", "packages": ["x"]}, "b": {"path": "/v/b-1", "packages": ["pip<27"]}}
    found = plan_venvs(manifest({}, default_packages=["pip"], venvs=both), [DEBIAN])

    assert [lines(one) for one in found] == [["x", "pip"], ["pip<27"]]


def test_requirements_are_those_of_the_target() -> None:
    """A requirement whose marker is false on the target is not in its plan."""
    packages = ["x", "old; python_version < '3.12'", "arm; platform_machine == 'aarch64'"]

    assert [one.name for one in plan(DEBIAN, packages=packages).requirements] == ["x", "old"]
    assert [one.name for one in plan(UBUNTU, packages=packages).requirements] == ["x", "arm"]


def test_override_removes_then_adds() -> None:
    """An override takes names out of the venv's own packages and groups, and its additions stay."""
    override = {"remove": ["PYMYSQL", "y"], "packages": ["pymysql<1"]}

    found = plan(packages=["x", "PyMySQL>=1"], groups={"g": ["y"]}, enable=["g"], targets={"debian": override})

    assert lines(found) == ["x", "pymysql<1"]


def test_only_the_most_specific_override_applies() -> None:
    """Of several overrides that fit a target the most specific one counts, alone."""
    targets = {"debian": {"packages": ["family"]}, "debian-12": {"packages": ["system"]}}

    assert lines(plan(DEBIAN, packages=["x"], targets=targets)) == ["x", "system"]
    assert lines(plan(UBUNTU, packages=["x"], targets=targets)) == ["x", "family"]
    assert lines(plan(ROCKY, packages=["x"], targets=targets)) == ["x"]


def test_a_skipped_venv_has_no_plan() -> None:
    """``skip`` leaves the venv out on that target only."""
    found = plan_venvs(manifest({"packages": ["x"], "targets": {"ubuntu": {"skip": True}}}), [DEBIAN, UBUNTU])

    assert [one.target.name for one in found] == ["debian-12-x86_64"]


@pytest.mark.parametrize(
    ("target", "chosen"),
    [
        ("ubuntu-24.04-x86_64", "exact"),
        ("ubuntu-24.04-x86_64-py313", "exact"),
        ("ubuntu-24.04-aarch64", "system"),
        ("ubuntu-22.04-x86_64", "distro"),
        ("debian-12-x86_64", "family"),
        ("rocky-9-x86_64", "redhat"),
    ],
)
def test_the_most_specific_list_of_distro_packages_wins(target: str, chosen: str) -> None:
    """Target name, distro-version, distro, family and default are tried in this order."""
    packages = {
        "default": ["none"],
        "debian": ["family"],
        "redhat": ["redhat"],
        "ubuntu": ["distro"],
        "ubuntu-24.04": ["system"],
        "ubuntu-24.04-x86_64": ["exact"],
    }

    assert choose_packages(packages, known_target(target)) == (chosen,)


@pytest.mark.parametrize(
    ("keys", "target", "chosen"),
    [
        (["RedHat", "Debian"], "rocky-9-x86_64", "RedHat"),
        (["redhat", "redhat-9", "redhat-10"], "rocky-9-x86_64", "redhat-9"),
        (["Rocky", "redhat-9", "rocky-9"], "rocky-9-x86_64", "rocky-9"),
        (["Rocky", "RedHat-9"], "rocky-9-x86_64", "RedHat-9"),
        (["debian", "Ubuntu-24"], "ubuntu-24.04-aarch64", "Ubuntu-24"),
        (["debian", "ubuntu-22.04"], "ubuntu-24.04-aarch64", "debian"),
        (["apt", "dnf"], "ubuntu-24.04-aarch64", "apt"),
        (["apt", "dnf", "Default"], "almalinux-10-x86_64", "dnf"),
        (["dnf", "Default"], "debian-13-x86_64", "Default"),
    ],
)
def test_keys_of_openstack_ansible_select_as_its_roles_do(keys: list[str], target: str, chosen: str) -> None:
    """The names of its variable files and of Ansible's facts select in its order, in any case."""
    assert choose_packages({key: [key] for key in keys}, known_target(target)) == (chosen,)


def test_an_override_may_be_named_as_ansible_spells_the_distro() -> None:
    """`Debian` selects like `debian`."""
    assert lines(plan(DEBIAN, packages=["x"], targets={"Debian": {"packages": ["y"]}})) == ["x", "y"]


def test_default_is_the_last_resort() -> None:
    """A target that no key selects gets the default, or nothing."""
    assert choose_packages({"redhat": ["r"], "default": ["d"]}, DEBIAN) == ("d",)
    assert choose_packages({"redhat": ["r"]}, DEBIAN) == ()


def test_a_venv_with_another_python_has_that_target() -> None:
    """Naming a Python makes a target of its own; naming the default one does not."""
    assert plan(DEBIAN, packages=["x"], python="3.13").target.name == "debian-12-x86_64-py313"
    assert plan(DEBIAN, packages=["x"], python="3.13.5").target.python.full_version == "3.13.5"
    assert plan(DEBIAN, packages=["x"], python="3.11").target is DEBIAN


def test_two_targets_that_a_python_makes_equal_give_one_plan() -> None:
    """A venv with its own Python is planned once although the second Python is listed too."""
    found = plan_venvs(
        manifest({"packages": ["x"], "python": "3.13"}), [DEBIAN, known_target("debian-12-x86_64-py313")]
    )

    assert [one.target.name for one in found] == ["debian-12-x86_64-py313"]


def test_layers_of_a_venv_go_above_or_replace() -> None:
    """``add`` puts the venv's layers over the release's, ``replace`` leaves those out."""
    release = [{"name": "upper", "file": "u.txt"}]
    own = {"layers": [{"name": "hotfix", "lines": ["x<2"]}]}
    names = []
    for mode in ("add", "replace"):
        document = manifest({"packages": ["x"], "constraints": {"mode": mode, **own}}, constraints=release)
        names.append([layer.name for layer in plan_venvs(document, [DEBIAN])[0].layers])

    assert names == [["hotfix", "upper"], ["hotfix"]]


def test_distro_and_system_packages_are_united() -> None:
    """What an override names comes on top of the venv's own, without repetition."""
    found = plan(
        packages=["x"],
        system_packages=["python3-rados"],
        distro_packages={"build": ["gcc"], "runtime": {"debian": ["libldap2"]}},
        targets={"debian": {"system_packages": ["python3-libvirt"], "distro_packages": {"build": ["gcc", "make"]}}},
    )

    assert found.system_packages == ("python3-rados", "python3-libvirt")
    assert (found.build_packages, found.runtime_packages) == (("gcc", "make"), ("libldap2",))


def test_release_wide_allowances_hold_for_each_venv() -> None:
    """A venv's plan has its own accepted failures and those of the release."""
    own, wide = {"entry_point": "own", "reason": "why not"}, {"entry_point": "wide", "reason": "why not"}

    found = plan_venvs(manifest({"packages": ["x"], "allow": [own]}, proof={"allow": [wide]}), [DEBIAN])

    assert [one.entry_point for one in found[0].allow] == ["own", "wide"]


def test_unparsable_requirements_are_all_named() -> None:
    """A manifest that was not checked first still gives one error with every bad line."""
    with pytest.raises(ManifestError) as caught:
        plan_venvs(manifest({"packages": ["x", "a b"], "groups": {"g": ["=1"]}, "enable": ["g"]}), [DEBIAN, UBUNTU])

    assert [problem.where for problem in caught.value.problems] == ["venvs.a.packages[1]", "venvs.a.groups.g[0]"]


def test_keys_of_a_target_go_from_special_to_general() -> None:
    """The keys that select a target begin with its name and end with its family."""
    keys = target_keys(known_target("rocky-9-x86_64-py312"))

    assert keys == ("rocky-9-x86_64-py312", "rocky-9-x86_64", "rocky-9", "redhat-9", "rocky", "redhat", "dnf")


NAMES = st.sampled_from(["a", "b", "c.d", "E_f", "g"])


@given(
    packages=st.lists(NAMES, max_size=4),
    groups=st.dictionaries(st.sampled_from(["g", "h"]), st.lists(NAMES, max_size=3)),
    remove=st.lists(NAMES, max_size=2),
    targets=st.permutations([DEBIAN, UBUNTU, ROCKY]),
)
def test_the_plan_is_deterministic(
    packages: list[str], groups: dict[str, list[str]], remove: list[str], targets: list[Target]
) -> None:
    """The same manifest gives the same plan per venv and target, whatever the order of targets."""
    venv = {"packages": packages, "groups": groups, "enable": list(groups), "targets": {"debian": {"remove": remove}}}
    document = manifest(venv)

    first = plan_venvs(document, targets)
    again = plan_venvs(Manifest.model_validate(document.model_dump(by_alias=True)), sorted(targets, key=str))

    assert {one.target.name: one for one in first} == {one.target.name: one for one in again}
    assert [one.target for one in first] == targets
