"""What a report says, pure."""

from __future__ import annotations

import json

import pytest

from bundler.errors import FormatError
from bundler.model.manifest import AllowedFailure, Smoke
from bundler.venvs.proof_checks import dependency_checks, fill, smoke_error
from bundler.venvs.proof_report import Check, Kind, ProofReport, accept, problems_of, unused


def check(
    kind: Kind = "script", name: str = "nova-api", package: str = "nova", error: str = "ImportError: x"
) -> Check:
    group = {"script": "console_scripts", "dependency": "pip-check", "module": "system-packages"}.get(kind, kind)
    return Check(kind=kind, package=package, group=group, name=name, error=error)


def report(*checks: Check) -> ProofReport:
    return ProofReport(
        venv="nova",
        target="debian-12-x86_64",
        level="host",
        python="3.11.2",
        install_path="/openstack/venvs/nova-1",
        archive="ab" * 32,
        unisolated=("network",),
        checks=checks,
    )


def test_a_report_survives_json() -> None:
    """What is written is read back, and empty fields are not written."""
    first = accept(report(check(), check(name="ok", error="")), [AllowedFailure(entry_point="*", reason="because")])

    data = first.to_json()

    assert ProofReport.from_json(data) == first
    assert "error" not in json.loads(data)["checks"][1]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"checks": [{}]}', b'{"venv": 1, "more": 2}', b'{"checks": [{"kind": "odd"}]}']
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    """Garbage raises our own error."""
    with pytest.raises(FormatError):
        ProofReport.from_json(data)


@pytest.mark.parametrize(
    ("pattern", "package", "covered"),
    [
        ("nova-api", "", True),
        ("nova-*", "Nova", True),
        ("console_scripts:nova-api", "", True),
        ("gui_scripts:nova-api", "", False),
        ("nova", "", False),
        ("nova-ap?", "", False),
        ("nova-ap[i]", "", False),
        ("nova-api", "glance", False),
    ],
)
def test_an_allow_covers_what_it_names(pattern: str, package: str, *, covered: bool) -> None:
    """Names, group:name and the star match; nothing else is special; the package must fit."""
    rule = AllowedFailure(entry_point=pattern, package=package, reason="because")

    assert accept(report(check()), [rule]).passed is covered
    assert bool(unused([rule], [report(check())])) is not covered


def test_dependencies_are_accepted_by_their_group_only() -> None:
    """A bare star accepts entry points, not unmet dependencies nor smoke commands."""
    broken = report(check("dependency", "numpy"), check("smoke", "nova-api --version"))

    after_star = accept(broken, [AllowedFailure(entry_point="*", reason="because")])
    after_group = accept(broken, [AllowedFailure(entry_point="pip-check:numpy", reason="because")])

    assert len(after_star.failures) == 2
    assert [failure.kind for failure in after_group.failures] == ["smoke"]


def test_other_entry_points_never_stand_against_a_venv() -> None:
    """A driver that does not load is reported, and is no problem."""
    found = report(check("entry-point", "driver"))

    assert found.passed
    assert problems_of(found) == ()
    assert found.entry.checks == 0


def test_problems_say_what_to_do() -> None:
    """A missing module names the package that has it; pip check names the dependency."""
    lost = Check(
        kind="script", package="pecan", group="console_scripts", name="pecan", error="e", missing="pkg_resources"
    )
    (unmet,) = dependency_checks("status 1", "x 1.0 requires y, which is not installed.\n")

    hints = [problem.hint for problem in problems_of(report(lost, unmet))]

    assert "setuptools<82" in hints[0]
    assert "entry_point: pecan" in hints[0]
    assert hints[1].startswith("add y to the venv")


def test_lines_of_pip_check_become_checks() -> None:
    """Each kind of line is understood; output that says nothing known fails as a whole."""
    output = """WARNING: something
a-b 1.0 requires c.d, which is not installed.
e 1.0 has requirement F>=2; python_version > "3", but you have f 1.0.
g 1.0 is not supported on this platform
g 1.0 is not supported on this platform
"""

    found = [(one.package, one.name) for one in dependency_checks("status 1", output)]

    assert found == [("a-b", "c-d"), ("e", "f"), ("g", "g")]
    assert [one.error for one in dependency_checks("", "")] == [""]
    assert [one.error for one in dependency_checks("killed by SIGKILL", "bang\n")] == ["killed by SIGKILL: bang"]


def test_versions_are_filled_in_literally() -> None:
    """A version's dots are no wildcards, braces of the expression stay, names are normalised."""
    expression = fill(r"^v{version[Oslo.Config]} \d{2}$", {"oslo-config": "1.2.3"})

    assert expression == r"^v1\.2\.3 \d{2}$"
    assert not smoke_error(Smoke(run="x", expect=expression), "", "first\nv1.2.3 42\n", {})
    assert smoke_error(Smoke(run="x", expect=expression), "", "v1x2.3 42", {})
