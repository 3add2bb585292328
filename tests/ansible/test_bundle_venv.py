"""The role `bundle_venv`: venvs onto service hosts, by real Ansible over a real sshd."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.conftest import Ansible, Played, stamps
from tests.bundles import DEBIAN, Keys
from tests.deploy.scene import LINE, Scene
from tests.sshd import ADDRESS
from tests.unpack.test_venv_command import with_venv

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.sshd]

PLAY = """\
- hosts: services
  gather_facts: false
  roles: [offline.bundle.bundle_venv]
  handlers:
    - name: Restart the services
      ansible.builtin.debug:
        msg: services of {{ inventory_hostname }} begin anew
      listen: venv changed
"""
#: The command of the tree, which keeps what it is sent below another directory than /opt.
PROGRAM = f"""\
#!{sys.executable}
from pathlib import PurePosixPath
from bundler.workflows.site import venv
venv.HOME = PurePosixPath({{home!r}})
from bundler.cli.install import main
main()
"""


class Services:
    """Two hosts with venvs of their own, and one that is away; releases 1 and 2 were applied."""

    def __init__(self, ansible: Ansible, base: Path, keys: Keys) -> None:
        self.ansible, self.base = ansible, base
        self.program = base / "installer"
        self.program.write_text(PROGRAM.format(home=str(base / "opt")))
        self.program.chmod(0o755)
        self.scene = Scene(base, keys, self.program)
        far = {"address": ADDRESS, "port": ansible.sshd.port, "user": ansible.sshd.user, "target": DEBIAN}
        ssh = {"identity": str(ansible.sshd.identity), "agent": False, "known_hosts": str(ansible.sshd.known_hosts)}
        hosts = [{"name": "one", **far}, {"name": "two", **far}, {"name": "away", **far, "port": 1}]
        self.scene.site(self.scene.local("repo1"), service_hosts=hosts, ssh=ssh)
        for number in (1, 2):
            self.scene.apply(self.scene.bundle(number, with_venv(number))).require_success()
        ansible.hosts = {name: {"bundle_venv_into": str(self.venvs(name))} for name in ("one", "two", "away")}
        ansible.hosts["deploy"] = {}

    def venvs(self, name: str) -> Path:
        return self.base / "venvs" / name

    @property
    def fact(self) -> Path:
        return self.base / "venvs" / "osa.fact"

    def facts(self, number: int) -> list[dict[str, str]]:
        return [{"section": "nova", "option": "venv_tag", "value": f"{number}"}]

    def play(self, *options: str, hosts: str = "one:two", fails: bool = False, **more: Any) -> Played:
        given = {
            "bundle_venv_names": ["nova"],
            "bundle_venv_deployment_host": "deploy",
            "bundle_venv_installer": str(self.program),
            "bundle_venv_config_dir": str(self.scene.places.config),
            "bundle_venv_state_dir": str(self.scene.places.state),
            "bundle_venv_facts_file": str(self.fact),
            **more,
        }
        # One after the other: here they are one machine, and what is under way lies in one place there.
        text = PLAY.replace("services\n", f"{hosts}\n", 1)
        return self.ansible.play(text, "--forks=1", *options, fails=fails, **given)

    def active(self, name: str) -> str:
        return str((self.venvs(name) / "nova").readlink())


@pytest.fixture
def services(ansible: Ansible, tmp_path: Path, keys: Keys) -> Services:
    return Services(ansible, tmp_path, keys)


def test_new_again_and_back(services: Services) -> None:
    """A venv comes, then goes back; check mode foretells it, handlers run for it; a second run changes nothing."""
    services.play(hosts="one", bundle_venv_release=f"{LINE}-1")
    for step, expected in (({}, "nova-2"), ({"bundle_venv_rollback": True}, "nova-1")):
        before = stamps(services.base / "venvs", services.base / "opt")
        foretold = services.play("--check", hosts="one", **step)
        assert stamps(services.base / "venvs", services.base / "opt") == before
        done = services.play(hosts="one", **step)
        again = services.play(hosts="one", **step)

        assert [played.changed["one"] for played in (foretold, done, again)] == [1, 1, 0]
        assert [played.text.count("services of one begin anew") for played in (foretold, done, again)] == [1, 1, 0]
        assert services.active("one") == expected


def test_facts_are_written_if_they_differ(services: Services) -> None:
    """With the venv in place a new fact alone is a change, once; what else the file holds stays."""
    services.play(hosts="one")
    services.fact.write_text("[nova]\nvenv_tag = 2\n\n[glance]\nvenv_tag = 7\n")
    runs = [
        services.play(*options, hosts="one", bundle_venv_facts=services.facts(3))
        for options in (("--check",), (), ())
    ]

    assert [played.changed["one"] for played in runs] == [1, 1, 0]
    assert services.fact.read_text() == "[nova]\nvenv_tag = 3\n\n[glance]\nvenv_tag = 7\n"


def test_hosts_stand_alone(services: Services) -> None:
    """Each host has its own venvs; one that is away fails with its reason, the others are done."""
    played = services.play(hosts="one:two:away", fails=True)

    assert played.failed == ["away"], played.text
    assert "Connection refused" in played.text
    assert (services.active("one"), services.active("two")) == ("nova-2", "nova-2")
    assert services.scene.places.log.read_text().count("venv installed") == 2


def test_what_cannot_begin_says_why(services: Services) -> None:
    """A venv that the release does not have, or a host that the site does not know, is a failure with its hint."""
    unknown = services.play(hosts="one", fails=True, bundle_venv_names=["swift"])
    nobody = services.play(hosts="deploy", fails=True)

    assert f"{DEBIAN} has no venv swift. What to do: there are: keystone, nova" in unknown.text
    assert "no service host is called deploy" in nobody.text
