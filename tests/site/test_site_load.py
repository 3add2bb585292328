"""Reading site.yaml: every rule, all problems at once, each with its place."""

from __future__ import annotations

import contextlib
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import SiteError
from bundler.model.site import RepoHost, Site
from bundler.model.site_fields import FIELDS, fields_of
from bundler.model.site_load import load_site
from bundler.model.site_reference import site_reference, site_sample, site_schema

HEAD = "name: a\nrepo_hosts:\n- name: one\n"


def problems(text: str | bytes) -> list[str]:
    """Return every problem of a document as text."""
    with pytest.raises(SiteError) as caught:
        load_site(text if isinstance(text, bytes) else text.encode(), "site.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_small_site_gets_defaults() -> None:
    """A name and a host are enough."""
    site = load_site(HEAD.encode(), "site.yaml")

    assert site == Site(name="a", repo_hosts=(RepoHost(name="one"),))


def test_values_are_read_by_their_kind() -> None:
    """Numbers, sizes, booleans, lists and objects become what the dataclasses say."""
    text = HEAD + "  port: 2222\n  targets: [debian-12-x86_64]\n  admit: {user: check}\n"
    text += "limits: {bandwidth: 50M, connections: 3}\nssh: {agent: false, jump: 'ops@[fd00::1]:2200'}\n"

    site = load_site(text.encode(), "site.yaml")

    assert (site.repo_hosts[0].port, site.repo_hosts[0].targets) == (2222, ("debian-12-x86_64",))
    assert site.repo_hosts[0].admit is not None
    assert (site.limits.bandwidth, site.limits.connections, site.ssh.agent) == (50 << 20, 3, False)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1000", 1000), ("1K", 1024), ("50MB", 50_000_000), ("2 GiB", 2 << 30)]
)
def test_bandwidth_is_a_size(text: str, size: int) -> None:
    """Units of 1024 and of 1000 are told apart."""
    site = load_site(f"{HEAD}limits: {{bandwidth: {text}}}\n".encode(), "site.yaml")

    assert site.limits.bandwidth == size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "site.yaml: the file is empty (bundle-install site sample shows every field)"),
        ("[]", "site.yaml:1: must be a mapping"),
        ("a: [", "site.yaml:1: not YAML"),
        ("name: a\n", "names no host"),
        ("repo_hosts: [{name: one}]", "site.yaml:1: name: is missing"),
        (HEAD.replace("name: a", "name: Plant_7"), "site.yaml:1: name: 'Plant_7' is not allowed here"),
        (HEAD + "repo_host: []\n", "site.yaml:4: repo_host: unknown key (did you mean repo_hosts?)"),
        (HEAD + "name: b\n", "site.yaml:4: name: duplicate key (first at site.yaml:1)"),
        (HEAD + "  prt: 22\n", "site.yaml:4: repo_hosts[0].prt: unknown key (did you mean port?)"),
        (HEAD + "  port: 0\n", "site.yaml:4: repo_hosts[0].port: '0' is out of range (from 1 to 65535)"),
        (HEAD + "  port: 65536\n", "repo_hosts[0].port: '65536' is out of range"),
        (HEAD + "  port: ssh\n", "repo_hosts[0].port: 'ssh' is no whole number"),
        (HEAD + "  port: 0x16\n", "repo_hosts[0].port: '0x16' is no whole number"),
        (HEAD + "  port: ٢٢\n", "is no whole number"),
        (HEAD + "  port: [22]\n", "repo_hosts[0].port: must be a port, not a list"),
        (HEAD + "  port:\n", "repo_hosts[0].port: is empty"),
        (HEAD + "  port: ''\n", "repo_hosts[0].port: is empty"),
        (HEAD + "  root: repo\n", "repo_hosts[0].root: 'repo' is relative"),
        (HEAD + "  root: /\n", "must not be / itself"),
        (HEAD + "  root: /srv/../etc\n", "is not in its shortest form (write /etc)"),
        (HEAD + "  root: //srv\n", "is not in its shortest form (write /srv)"),
        (HEAD + '  root: "/srv\\nx"\n', "repo_hosts[0].root: holds the control character '\\n'"),
        (HEAD + '  root: "/srv\\x07"\n', "holds the control character"),
        (HEAD + f"  root: /{'a' * 1100}\n", "is longer than 1024 bytes"),
        (HEAD + "  address: root@10.0.0.1\n", "holds a user"),
        (HEAD + "  address: 10.0.0.1:22\n", "holds a port or brackets"),
        (HEAD + "  address: '[fd00::1]'\n", "holds a port or brackets"),
        (HEAD + "  address: a b\n", "'a b' is not allowed here"),
        (HEAD + "  address: -oProxyCommand=x\n", "is not allowed here"),
        (HEAD + "  user: -l\n", "'-l' is not allowed here"),
        (HEAD + "  transport: sssh\n", "'sssh' is no transport (did you mean ssh?)"),
        (HEAD + "  owner: 'a:b'\n", "'a:b' is not allowed here"),
        (HEAD + "  targets: debian-12-x86_64\n", "repo_hosts[0].targets: must be a list"),
        (HEAD + "  targets: [debian12]\n", "repo_hosts[0].targets[0]: 'debian12' is no target name"),
        (HEAD + "  targets: [debain-12-x86_64]\n", "unknown target debain-12-x86_64 (did you mean debian-12?)"),
        (HEAD + "  targets: [debian-21-x86_64]\n", "unknown target debian-21-x86_64"),
        (HEAD + "  targets: [debian-12-amd64]\n", "unknown architecture amd64"),
        (HEAD + "  targets: [debian-12-x86_64, debian-12-x86_64]\n", "targets[1]: 'debian-12-x86_64' is listed"),
        (HEAD + "  url: ftp://repo/\n", "is no URL that clients can read"),
        (HEAD + "  url: http://u:p@repo/\n", "holds a user or a password"),
        (HEAD + "  url: http://repo/?x\n", "holds a query or a fragment"),
        (HEAD + "  url: http://repo:99999/\n", "is no URL"),
        (HEAD + "  admit: {}\n", "repo_hosts[0].admit.user: is missing"),
        (HEAD + "  admit: {user: root}\n", "repo_hosts[0].admit.user: 'root' pushes too"),
        (
            HEAD + "  admit: {user: b, identity: /k}\nssh: {identity: /k}\n",
            "admit.identity: is the key that pushes",
        ),
        (HEAD + '  admit: {user: b, command: "a\\nb"}\n', "holds the control character"),
        (HEAD + "  transport: local\n  address: 10.0.0.1\n", "site.yaml:5: repo_hosts[0].address: has no meaning"),
        (HEAD + "  transport: local\n  port: 22\n", "repo_hosts[0].port: has no meaning with transport: local"),
        (HEAD + "  transport: local\nssh: {jump: a@b}\n", "ssh.jump: no host is reached through it"),
        (HEAD + "- name: ONE\n", "repo_hosts[1].name: 'ONE' is also the name of repo_hosts[0]"),
        (HEAD + "- {name: two, address: one}\n", "repo_hosts[1].root: is the same place as repo_hosts[0] (one)"),
        (HEAD + "- name: two\n  x: 1\n- name: \n", "repo_hosts[2].name: is empty"),
        (HEAD + "targets: [debian-12-x86_64]\nservice_hosts: [{name: c, target: debian-13-x86_64}]\n",
         "service_hosts[0].target: 'debian-13-x86_64' is none of the site's targets"),
        (HEAD + "ssh: {jump: 'a b'}\n", "ssh.jump: 'a b' is no jump host"),
        (HEAD + "ssh: {jump: 'ops@host:0'}\n", "ssh.jump: '0' is out of range"),
        (HEAD + "ssh: {agent: yes}\n", "ssh.agent: 'yes' is neither true nor false"),
        (HEAD + "ssh: {identity: id}\n", "ssh.identity: 'id' is relative"),
        (HEAD + "limits: {bandwidth: fast}\n", "limits.bandwidth: 'fast' is no size"),
        (HEAD + "limits: {bandwidth: -1}\n", "limits.bandwidth: '-1' is no size"),
        (HEAD + "limits: {connections: 0}\n", "limits.connections: '0' is out of range"),
        (HEAD + "retention: {keep: 0}\n", "retention.keep: '0' is out of range"),
        (HEAD + "retention: {pinned: [openstack]}\n", "retention.pinned[0]: 'openstack' is not allowed here"),
        (HEAD + "gates: {max_failed: 1}\n", "gates.max_failed: 1 may fail of 1 repo hosts"),
        (HEAD + "limits: &a {retries: *a}\n", "contains itself"),
        (HEAD + "? [a]\n: b\n", "a key must be a plain text"),
        (HEAD + "  port: !!binary aa\n", "is not supported"),
    ],
)  # fmt: skip
def test_each_rule_names_place_and_cause(text: str, expected: str) -> None:
    """A broken rule is found, with line, field, cause and hint."""
    found = problems(text)

    assert any(expected in one for one in found), found


@pytest.mark.parametrize("name", ["root", "owner", "group", "targets"])
def test_hosts_of_a_shared_root_describe_it_alike(name: str) -> None:
    """One file system has one root, owner, group and set of targets."""
    value = {"root": "/srv/x", "owner": "www", "group": "www", "targets": "[debian-12-x86_64]"}[name]
    text = HEAD + f"  shared_root: g\n- name: two\n  shared_root: g\n  {name}: {value}\n"

    found = problems(text)

    assert len(found) == 1
    assert found[0].startswith(f"site.yaml:7: repo_hosts[1].{name}: differs from that of one, which shares 'g'")


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    """Nobody has to run the check five times."""
    text = "nam: a\nrepo_hosts:\n- name: one\n  port: x\n  roots: /srv\nlimits: {retries: many}\n"

    found = problems(text)

    assert [one.split(":")[1] for one in found] == ["1", "1", "4", "5", "6"]


def test_a_field_that_is_wrong_gets_one_problem() -> None:
    """Rules over several fields do not repeat what was said of one."""
    found = problems(HEAD + "  admit: {user: '-'}\n")

    assert len(found) == 1


def test_a_target_of_a_system_that_we_do_not_know_passes() -> None:
    """A bundle can be made for this very host, whatever it runs."""
    site = load_site((HEAD + "  targets: [fedora-44-x86_64]\n").encode(), "site.yaml")

    assert site.all_targets == ("fedora-44-x86_64",)


def test_a_path_may_hold_spaces_and_quotes() -> None:
    """Only what cannot be one line is refused in a path."""
    site = load_site((HEAD + "  root: \"/srv/it's a 'repo' $HOME;\"\n").encode(), "site.yaml")

    assert site.repo_hosts[0].root == "/srv/it's a 'repo' $HOME;"


def test_merge_keys_and_anchors_work() -> None:
    """What hosts have in common is written once."""
    text = "name: a\nrepo_hosts:\n- &b {name: one, owner: www}\n- {<<: *b, name: two}\n"

    site = load_site(text.encode(), "site.yaml")

    assert [host.owner for host in site.repo_hosts] == ["www", "www"]


def test_the_sample_is_a_valid_site_with_and_without_its_optional_fields() -> None:
    """Taking any # away leaves a right file."""
    text = site_sample()
    whole = re.sub(r"^( *)#(?! )", r"\1", text, flags=re.MULTILINE)

    assert load_site(text.encode(), "sample").name == "plant-7"
    assert load_site(whole.encode(), "sample").limits.bandwidth == 50 << 20


def test_the_table_has_every_field_of_every_dataclass() -> None:
    """No field of the dataclasses is forgotten, none is invented."""
    for model, table in FIELDS.items():
        assert set(fields_of(model)) == set(table)


def test_schema_and_reference_name_every_field() -> None:
    """Both are made from the same table."""
    schema, page = site_schema(), site_reference()
    for model, table in FIELDS.items():
        here = schema if model is Site else schema["$defs"][model.__name__]

        assert set(here["properties"]) == set(table)
        assert all(f"| `{name}` |" in page for name in table)


_WORDS = st.sampled_from(
    [*(name for table in FIELDS.values() for name in table), "x", "<<", "22", "50M", "/srv", "one", "local", "true"]
)
_SCALARS = st.one_of(_WORDS, st.text(max_size=8), st.integers(), st.none(), st.booleans())
_TREES = st.recursive(
    _SCALARS, lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(_WORDS, below, max_size=5))
)


@settings(max_examples=60, deadline=None)
@given(_TREES)
def test_any_tree_is_read_or_refused_with_problems(tree: object) -> None:
    """Whatever YAML can say, the answer is a site or a list of problems."""
    with contextlib.suppress(SiteError):
        site = load_site(yaml.safe_dump(tree).encode(), "site.yaml")

        assert site.name


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
def test_any_bytes_are_read_or_refused_with_problems(data: bytes) -> None:
    """No bytes make the reader fail in another way."""
    with pytest.raises(SiteError) as caught:
        load_site(HEAD.encode() + b"\nx: " + data, "site.yaml")

    assert caught.value.problems
