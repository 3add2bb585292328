"""Problems: every one is found, with file, line, field path and the nearest valid key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bundler.errors import ManifestError

Problems = Callable[..., list[str]]
Wrong = Callable[[str], list[str]]
MANY = """\
schema: 1
release:
  name: Bad Name
  version: "1"
  verison: "2"
targets: [debian-12-x86_64, debian-12-x86-64]
resolver: uvv
indexes:
  - name: one
    url: https://joe:s3cret@index.example/simple
    packages: [plugin]
  - name: two
    url: https://two.example/simple
    packages: [Plugin]
constraints:
  - name: user
    file: user.txt
    lines: [x<2]
  - name: pins
    lines:
      - setuptools<<81
venvs:
  nova:
    path: /one/nova-1
    packages:
      - nova
      - oslo.db
      - nova=1
    packages: [again]
    enable: [ldpa]
    groups:
      ldap: [python-ldap]
    targets:
      ubuntu-24.04-x86_64: {skip: true}
    smoke:
      - run: nova --version
        expect: "nova (unclosed"
      - run: nova 'unclosed
  other:
    path: /two/nova-1
    enable: [x]
"""
EXPECTED = [
    "m.yaml:3: release.name: 'Bad Name' does not fit",
    "m.yaml:5: release.verison: unknown key",
    "m.yaml:6: targets[1]: 'debian-12-x86-64' is no target name (did you mean debian-12-x86_64?)",
    "m.yaml:7: resolver: 'uvv' is not one of 'uv' or 'pip' (did you mean uv?)",
    "m.yaml:10: indexes[0].url: 'https://***@index.example/simple' has credentials in it (keep credentials in netrc",
    "m.yaml:14: indexes[1].packages[0]: Plugin is bound to index one too",
    "m.yaml:16: constraints[0]: has file and lines (give exactly one of file, url, git and lines)",
    "m.yaml:21: constraints[1].lines[0]: 'setuptools<<81' is no constraint",
    "m.yaml:28: venvs.nova.packages[2]: 'nova=1' is no PEP 508 requirement",
    "m.yaml:29: venvs.nova.packages: duplicate key (first at m.yaml:25)",
    "m.yaml:30: venvs.nova.enable[0]: there is no group 'ldpa' (did you mean ldap?)",
    "m.yaml:34: venvs.nova.targets.ubuntu-24.04-x86_64: 'ubuntu-24.04-x86_64': no listed target is called so",
    "m.yaml:37: venvs.nova.smoke[0].expect: not a regular expression: missing )",
    "m.yaml:38: venvs.nova.smoke[1].run: not a command line: No closing quotation",
    "m.yaml:40: venvs.other.path: the archive name 'nova-1' is that of venvs.nova too",
    "m.yaml:41: venvs.other.enable[0]: there is no group 'x' (the venv has no groups)",
]


def test_every_problem_of_a_file_is_reported_at_once(problems: Problems) -> None:
    """Sixteen different mistakes give sixteen problems, in order of lines, each with its line and field."""
    found = problems(MANY)

    assert len(found) == len(EXPECTED)
    for line, expected in zip(found, EXPECTED, strict=True):
        assert line.startswith(expected)


def test_no_message_repeats_a_secret(problems: Problems) -> None:
    """A password in a URL does not reach the output."""
    assert "s3cret" not in "".join(problems(MANY))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("    pakages: [y]\n", "m.yaml:8: venvs.a.pakages: unknown key (did you mean packages?)"),
        ("    smoke: [{run: x, expct: y}]\n", "m.yaml:8: venvs.a.smoke[0].expct: unknown key (did you mean expect?)"),
        ("    smoke: [{expect: y}]\n", "m.yaml:8: venvs.a.smoke[0].run: is missing (command line;"),
        ("    enable:\n", "m.yaml:8: venvs.a.enable: is empty (give it a value or remove the key)"),
        ("    enable: g\n", "m.yaml:8: venvs.a.enable: should be a list, not 'g'"),
        ("    groups: [g]\n", "m.yaml:8: venvs.a.groups: should be a mapping, not a list"),
        ("    python: py3\n", "m.yaml:8: venvs.a.python: 'py3' does not fit"),
        ("    allow: [{entry_point: x, reason: n}]\n", "m.yaml:8: venvs.a.allow[0].reason: String should have"),
        ("    distro_packages: {build: {debain: [gcc]}}\n", "m.yaml:8: venvs.a.distro_packages.build.debain: "),
        (
            "    distro_packages: {build: {RedHat: [gcc], redhat: [g]}}\n",
            "m.yaml:8: venvs.a.distro_packages.build.redhat: 'redhat' is the same key as 'RedHat' (put both",
        ),
        (
            "    targets: {Debian: {skip: true}, debian: {remove: [x]}}\n",
            "m.yaml:8: venvs.a.targets.debian: 'debian' is the same key as 'Debian'",
        ),
        ("    distro_packages: {build: gcc}\n", "m.yaml:8: venvs.a.distro_packages.build: should be a list"),
        ("    distro_packages: {build: {debian: gcc}}\n", "m.yaml:8: venvs.a.distro_packages.build.debian: should"),
        ("    targets: {debian: {remove: [x==1]}}\n", "m.yaml:8: venvs.a.targets.debian.remove[0]: 'x==1' is no"),
        ("    targets: {auto: {skip: true}}\n", "m.yaml:8: venvs.a.targets.auto: 'auto': no listed target"),
        ("    constraints: {layers: [{name: u}]}\n", "m.yaml:8: venvs.a.constraints.layers[0]: has no content"),
        ("  b: {path: /v/../b, packages: [y]}\n", "m.yaml:8: venvs.b.path: '/v/../b' has . or .. in it"),
        ("  b: {path: relative, packages: [y]}\n", "m.yaml:8: venvs.b.path: 'relative' does not fit"),
        ("  b: {path: /v/b}\n", "m.yaml:8: venvs.b: has no packages"),
        ("  b:\n", "m.yaml:8: venvs.b: "),
        ("  B b: {path: /v/b, packages: [y]}\n", "m.yaml:8: venvs.B b: 'B b' is no valid name (lower-case"),
        ("build: {packages: {'x y': {}}}\n", "m.yaml:8: build.packages.x y: 'x y' is no package name"),
        ("build: {packages: {A_b: {}, a-b: {}}}\n", "m.yaml:8: build.packages.a-b: 'a-b' is the same package as"),
        ("build: {constraints: [a==1, a==2]}\n", "m.yaml:8: build.constraints[1]: a==2 contradicts a==1"),
        ("constraints: [{name: u, lines: ['a[b]==1']}]\n", "m.yaml:8: constraints[0].lines[0]: 'a[b]==1' has extras"),
        ("build: {packages: {x: {memory: lots}}}\n", "m.yaml:8: build.packages.x.memory: should be a valid integer"),
        ("indexes: [{name: i, url: index.example}]\n", "m.yaml:8: indexes[0].url: 'index.example' is no usable"),
        (
            "constraints: [{name: u, lines: [a]}, {name: u, lines: [b]}]\n",
            "m.yaml:8: constraints[1]: a second layer called 'u'",
        ),
        (
            "constraints:\n- name: u\n  git: {url: https://s3cret@git.example/x, revision: v1, path: c.txt}\n",
            "m.yaml:10: constraints[0].git.url: 'https://***@git.example/x' has credentials in it",
        ),
    ],
)
def test_one_mistake_is_one_problem(wrong: Wrong, lines: str, expected: str) -> None:
    """Each kind of mistake gives exactly one problem, at its line, for its field."""
    found = wrong(lines)

    assert len(found) == 1
    assert found[0].startswith(expected)


def test_missing_parts_are_named(problems: Problems) -> None:
    """What a manifest must have and this one lacks is named field by field."""
    found = problems("release: {name: r}\n")

    assert [line.split(" (")[0] for line in found] == [
        "m.yaml:1: release.version: is missing",
        "m.yaml:1: schema: is missing",
        "m.yaml:1: venvs: is missing",
    ]


def test_another_schema_is_refused(problems: Problems) -> None:
    """A manifest of a later format is not guessed at."""
    found = problems('schema: 2\nrelease: {name: r, version: "1"}\nvenvs: {a: {path: /v/a, packages: [x]}}\n')

    assert found == ["m.yaml:1: schema: '2' is not one of 1 (version of this format)"]


def test_archive_names_may_repeat_where_targets_do_not_meet(load: Callable[..., object]) -> None:
    """Two venvs share the last part of their path if no target gets both."""
    head = 'schema: 1\nrelease: {name: r, version: "1"}\ntargets: [debian-12-x86_64, debian-13-x86_64]\nvenvs:\n'
    one = "  a: {path: /one/a-1, packages: [x], targets: {debian-12: {skip: true}}}\n"
    two = "  b: {path: /two/a-1, packages: [x], targets: {debian-13: {skip: yes}}}\n"

    load(head + one + two)
    with pytest.raises(ManifestError, match="1 problem"):
        load(head + one + two.replace("yes", "no"))
