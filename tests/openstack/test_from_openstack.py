"""`bundle-build manifest from-openstack`: manifests from the real data of a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundler.errors import ManifestError, UsageError
from bundler.events import Event, ignore
from bundler.model.manifest import Manifest
from bundler.model.manifest_load import load_manifest
from bundler.model.openstack_roles import EXTRA_VENVS, known_roles
from bundler.workflows.openstack import OpenStackReport, OpenStackRequest, from_openstack


def released(place: Path, **changes: Any) -> OpenStackReport:
    values: dict[str, Any] = {
        "deliverables": (place / "deliverables",),
        "upper": place / "upper-constraints-2026.1.txt",
        "output": place / "made.yaml",
        **changes,
    }
    return from_openstack(OpenStackRequest(**values))


def exact(place: Path, **changes: Any) -> OpenStackReport:
    values: dict[str, Any] = {"source_git": (place / "group_vars",), "output": place / "made.yaml", **changes}
    return from_openstack(OpenStackRequest(**values))


def read(place: Path) -> Manifest:
    return load_manifest(place / "made.yaml", Path.read_bytes).manifest


def refused(place: Path, **changes: Any) -> list[str]:
    make = exact if "source_git" in changes else released
    with pytest.raises(ManifestError) as caught:
        make(place, **changes)
    return [str(problem) for problem in caught.value.problems]


def test_roles_name_their_service_first() -> None:
    """The manifest that roles are taken from has the service as the first package of each venv."""
    for role in known_roles().services:
        assert role.name in role.main.name, role.name
        assert "==" in str(role.main), role.name


def test_a_role_that_is_not_known_has_what_most_have() -> None:
    """What three of four roles have is what OpenStack-Ansible's role for magnum has too."""
    roles = known_roles()

    assert set(roles.common) == {"osprofiler", "PyMySQL", "pymemcache", "python-memcached", "systemd-python"}
    assert roles.common_distro == {"build": ["libsystemd-dev", "pkg-config"], "runtime": ["libsystemd0"]}


def test_every_service_becomes_a_venv_of_its_last_release(place: Path) -> None:
    """All fifteen deliverables give twelve services, in the version that was released last."""
    report = released(place)

    venvs = read(place).venvs
    assert report.version == "2026.1"
    assert {name: venv.packages[0] for name, venv in venvs.items()} == {
        "barbican": "barbican==22.0.0",
        "cinder": "cinder==28.0.0",
        "glance": "glance==32.0.0",
        "heat": "openstack-heat==26.0.1",
        "horizon": "horizon==25.7.3",
        "ironic": "ironic==35.0.1",
        "keystone": "keystone[ldap]==29.0.2",
        "magnum": "magnum==22.0.0",
        "neutron": "neutron==28.0.1",
        "nova": "nova==33.0.2",
        "octavia": "octavia==18.0.0",
        "placement": "openstack-placement==15.0.0",
    }
    assert report.left_out == {
        "of type trailing": ["openstack-ansible"],
        "libraries: the upper constraints have them": ["python-openstackclient"],
    }


def test_services_have_what_our_own_manifest_has(place: Path) -> None:
    """Packages beside the service, distro packages, smoke commands and paths are those of the known roles."""
    released(place)

    venvs = read(place).venvs
    for role in known_roles().services:
        if role.name in venvs:
            made = venvs[role.name]
            assert made.packages[1:] == role.beside
            assert made.path == role.venv["path"]
            assert [one.run for one in made.smoke] == [one["run"] for one in role.venv["smoke"]]
            assert made.distro_packages.runtime == role.venv["distro_packages"]["runtime"]


def test_what_belongs_to_a_service_becomes_a_group_of_it(place: Path) -> None:
    """neutron-vpnaas, of neutron's team, can be added to neutron; a group without its deliverable is left out."""
    released(place)

    venvs = read(place).venvs
    assert venvs["neutron"].groups == {"neutron-vpnaas": ["neutron-vpnaas==28.0.0"]}
    assert venvs["neutron"].enable == ()
    assert venvs["horizon"].groups == {}


def test_a_dashboard_that_the_role_has_is_built_in(place: Path) -> None:
    """Of horizon's plugins the role's own are enabled, others can be."""
    for name in ("heat-dashboard", "magnum-ui"):
        text = (place / "deliverables" / "gazpacho-neutron-vpnaas.yaml").read_text()
        text = text.replace("type: other", "type: horizon-plugin").replace("neutron-vpnaas", name)
        (place / "deliverables" / f"{name}.yaml").write_text(text)

    released(place)

    horizon = read(place).venvs["horizon"]
    assert horizon.groups == {"dashboards": ["heat-dashboard==28.0.0"], "more-dashboards": ["magnum-ui==28.0.0"]}
    assert horizon.enable == ("dashboards",)


def test_a_service_is_taken_out_of_the_upper_constraints(place: Path) -> None:
    """Where they pin another version of what is a venv here, a layer above them says the right one."""
    upper = place / "upper-constraints-2026.1.txt"
    upper.write_text(upper.read_text().replace("horizon===25.7.3", "horizon===25.7.2"))

    report = released(place)

    own = next(layer for layer in read(place).constraints if layer.name == "own")
    assert own.lines == ("horizon==25.7.3",)
    assert "horizon===25.7.2" in {one.loser for one in report.shadowed}


def test_one_can_take_a_few_services_and_the_extra_venvs(place: Path) -> None:
    """Services are named by venv or package; uwsgi has no version that the pins have, utility has all clients."""
    released(place, services=("keystone", "openstack-heat"), extra=EXTRA_VENVS, pins=place / "osa-pins-33.0.1.txt")

    manifest = read(place)
    ours = known_roles().venvs["utility"].venv["packages"]
    assert list(manifest.venvs) == ["heat", "keystone", "uwsgi", "utility"]
    assert manifest.venvs["uwsgi"].packages == ("uWSGI",)
    assert manifest.venvs["uwsgi"].path == "/openstack/venvs/uwsgi-33.0.1-python3"
    assert {name.lower() for name in manifest.venvs["utility"].packages} == {name.lower() for name in ours}


def test_the_contradiction_of_the_pins_is_told(place: Path) -> None:
    """Of numpy and Django in OpenStack-Ansible 33.0.1 both layers are told, file and line of each, and who wins."""
    events: list[Event] = []
    request = OpenStackRequest(
        source_git=(place / "group_vars",),
        upper=place / "upper-constraints-33.0.1.txt",
        pins=place / "osa-pins-33.0.1.txt",
        services=("nova",),
        output=place / "made.yaml",
    )

    report = from_openstack(request, events.append)

    told = {one.name: f"{one.winner} {one.winner_where} > {one.loser} {one.loser_where}" for one in report.shadowed}
    numpy = 'numpy==2.3.5 ; python_version >= "3.11" (pins osa-pins-33.0.1.txt:15)'
    assert told["numpy"] == (
        'numpy==2.3.5 ; python_version >= "3.11" pins osa-pins-33.0.1.txt:15 > '
        "numpy===2.2.6 upper upper-constraints-33.0.1.txt:377"
    )
    assert told["django"].startswith('django==5.2.8 ; python_version >= "3.13" pins osa-pins-33.0.1.txt:17 > ')
    assert any(f"{numpy} wins over numpy===2.2.6" in getattr(event, "message", "") for event in events)
    assert f"#   {numpy} over numpy===2.2.6" in report.text


def test_exact_sources_come_from_git(place: Path) -> None:
    """With source_git.yml each service is the commit that is installed; requirements give the upper constraints."""
    exact(place, tag="33.0.1", pins=place / "osa-pins-33.0.1.txt")

    manifest = read(place)
    assert list(manifest.venvs) == ["horizon", "keystone", "magnum", "nova", "placement"]
    assert manifest.venvs["placement"].packages[0] == (
        "git+https://opendev.org/openstack/placement@38c03b417247aa57432a230c2a530783dfdd14dc#egg=openstack-placement"
    )
    assert manifest.venvs["keystone"].packages[0].endswith("#egg=keystone[ldap]")
    assert manifest.venvs["horizon"].groups["more-dashboards"] == [
        "git+https://opendev.org/openstack/barbican-ui@7e88ff2ace570b3899ae0c5526a9cfa8aef0b45e#egg=barbican-ui"
    ]
    upper = manifest.constraints[-1].git
    assert upper is not None
    assert upper.revision == "c4c55d5279d824dc261a43ac51b56146ccc4dd4f"
    assert manifest.venvs["nova"].path == "/openstack/venvs/nova-33.0.1"
    section = manifest.openstack_ansible
    assert (section.branch, section.release) == ("2026.1", "33.0.1")
    assert section.global_constraints == "osa-pins-33.0.1.txt"


def test_the_upper_constraints_have_the_name_that_roles_ask_for(place: Path) -> None:
    """From a file they are known by the commit that OpenStack-Ansible pins."""
    exact(place, tag="33.0.1", services=("nova",), upper=place / "upper-constraints-33.0.1.txt")

    assert read(place).openstack_ansible.upper_constraints.id == "c4c55d5279d824dc261a43ac51b56146ccc4dd4f"


def test_addresses_of_mirrors_are_filled_in(place: Path) -> None:
    """A variable that is given beats OpenStack-Ansible's default."""
    exact(place, services=("nova",), variables={"openstack_opendev_base_url": "https://git.example"})

    assert read(place).venvs["nova"].packages[0].startswith("git+https://git.example/openstack/nova@57808c43")


def test_git_sources_are_free_of_the_upper_constraints(place: Path) -> None:
    """A horizon of some commit has a version that the upper constraints cannot pin."""
    exact(place, services=("horizon",), upper=place / "upper-constraints-33.0.1.txt")

    own = next(layer for layer in read(place).constraints if layer.name == "own")
    assert own.lines == ("horizon",)


def test_all_problems_of_all_deliverables_show_at_once(place: Path) -> None:
    """Each has file, line and field."""
    nova, heat = (place / "deliverables" / f"gazpacho-{name}.yaml" for name in ("nova", "heat"))
    nova.write_text(nova.read_text().replace("type: service", "type: servce").replace("32bd8471f86fa3", "32bd"))
    heat.write_text("releases:\n  - version: one\n    projects: openstack/heat\n")
    (place / "deliverables" / "torn.yaml").write_text("a: [")

    problems = refused(place)

    wrong_type = "type: 'servce' is no type of deliverable (did you mean service?)"
    assert f"deliverables/gazpacho-nova.yaml:5: {wrong_type}" in problems
    assert any(":2: releases[0].version: 'one' is no version" in problem for problem in problems)
    assert any(":3: releases[0].projects: must be a list" in problem for problem in problems)
    assert any("releases[3].projects[0].hash" in problem and "is no commit" in problem for problem in problems)
    assert any(problem.startswith("deliverables/torn.yaml:") for problem in problems)
    assert not (place / "made.yaml").exists()


def test_all_problems_of_git_sources_show_at_once(place: Path) -> None:
    """Unknown variables, expressions, missing halves and second addresses, with file, line and field."""
    (place / "group_vars" / "glance_all").mkdir()
    (place / "group_vars" / "glance_all" / "source_git.yml").write_text(
        'glance_git_repo: "{{ our_base }}/glance"\n'
        "glance_git_install_branch: 0c8228ca0236a2c33a31d395063edf75ad75aeab\n"
        "store_git_repo: \"{{ lookup('env', 'X') }}/store\"\n"
        "store_git_install_branch: master\n"
        "half_git_repo: https://git.example/half\n"
        "nova_git_repo: https://git.example/nova\n"
        "nova_git_install_branch: master\n"
    )

    problems = refused(place, source_git=(place / "group_vars",))

    where = "group_vars/glance_all/source_git.yml"
    assert f"{where}:1: glance_git_repo: the variable our_base is not known (give --variable NAME=VALUE)" in problems
    assert f"{where}:3: store_git_repo: cannot fill in {{{{ lookup('env', 'X') }}}} (write the value)" in problems
    assert f"{where}:1: half_git_install_branch: is missing (the commit that is installed)" in problems
    assert any(f"nova_git_repo: is given at {where}:6 too, with another address" in one for one in problems)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"services": ("novva",)}, "there is no service 'novva' (did you mean nova?)"),
        ({"upper": Path("absent.txt")}, "cannot be read: No such file or directory"),
        ({"pins": Path("bad.txt")}, "bad.txt:1: "),
    ],
)
def test_what_cannot_be_had_is_named(place: Path, changes: dict[str, Any], said: str) -> None:
    """A wrong name, a lost file and a line that is no constraint."""
    (place / "bad.txt").write_text("-r other.txt\n")
    placed = {key: place / value if isinstance(value, Path) else value for key, value in changes.items()}

    assert any(said in problem for problem in refused(place, **placed))


def test_files_of_two_series_need_a_version(place: Path) -> None:
    """Nothing is guessed: both series are named with their places."""
    nova = place / "deliverables" / "gazpacho-nova.yaml"
    nova.write_text(nova.read_text().replace("stable/2026.1", "stable/2025.2"))

    (problem,) = refused(place)

    assert "several series: 2026.1 at deliverables/gazpacho-barbican.yaml:2; 2025.2 at" in problem
    assert released(place, version="2026.1").version == "2026.1"


@pytest.mark.parametrize("changes", [{"deliverables": ()}, {"upper": None}, {"source_git": (Path(),)}])
def test_options_that_do_not_fit_are_refused(place: Path, changes: dict[str, Any]) -> None:
    """Either deliverables with upper constraints, or git sources."""
    with pytest.raises(UsageError):
        released(place, **changes)


def test_a_file_is_replaced_only_by_force(place: Path) -> None:
    """A manifest that somebody changed is not lost."""
    (place / "made.yaml").write_text("mine\n")

    with pytest.raises(UsageError, match="there already"):
        released(place)
    assert released(place, force=True).text == (place / "made.yaml").read_text()
    assert from_openstack(
        OpenStackRequest(deliverables=(place / "deliverables",), upper=place / "upper-constraints-2026.1.txt"), ignore
    ).venvs
