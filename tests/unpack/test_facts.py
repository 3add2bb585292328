"""Local facts for Ansible: one option changes, everything else stays."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from bundler.deploy.facts import Fact, parse_fact, with_fact, write_fact
from bundler.errors import UsageError

TEXT = "# ours\n[glance]\nvenv_tag = 1\n\n[nova]\n; kept\nneed_db = True\nvenv_tag = 33.0.0\n"


def fact(value: str, path: Path = Path("x"), section: str = "nova", option: str = "venv_tag") -> Fact:
    return Fact(file=path, section=section, option=option, value=value)


def test_one_option_changes() -> None:
    """Comments, other options and other sections stay as they are."""
    assert with_fact(TEXT, fact("33.0.1")) == TEXT.replace("33.0.0", "33.0.1")


def test_an_option_or_a_section_is_added() -> None:
    """A new option ends its section; a new section ends the file."""
    added = with_fact(with_fact(TEXT, fact("2", section="glance", option="b")), fact("1", section="heat"))
    parser = configparser.ConfigParser()
    parser.read_string(added)

    assert added.startswith("# ours\n[glance]\nvenv_tag = 1\nb = 2\n\n[nova]\n; kept\n")
    assert parser["heat"]["venv_tag"] == "1"


def test_a_file_is_written_only_if_it_changes(tmp_path: Path) -> None:
    """The second time nothing is written; the mode lets Ansible read it."""
    path = tmp_path / "facts.d" / "openstack_ansible.fact"

    assert write_fact(fact("33.0.1", path))
    assert not write_fact(fact("33.0.1", path))
    assert path.read_text() == "[nova]\nvenv_tag = 33.0.1\n"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_fact_is_given_as_one_word() -> None:
    """A bare name lies in Ansible's directory; a value may hold anything but a line end."""
    found = parse_fact("openstack_ansible:nova:venv_tag=a=b:c")

    assert str(found.file) == "/etc/ansible/facts.d/openstack_ansible.fact"
    assert (found.section, found.option, found.value) == ("nova", "venv_tag", "a=b:c")
    for wrong in ("nova:venv_tag=1", "x:y", "x:y:z", "x:[y]:z=1", "x:y:z=1\n[w]"):
        with pytest.raises(UsageError):
            parse_fact(wrong)
