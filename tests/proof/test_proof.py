"""Proof of toy venvs, in a throw-away root and without one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.errors import ProofFailed
from bundler.events import Event, ItemFinished, StageAdvanced, Warned, ignore
from bundler.model.manifest import AllowedFailure, Smoke
from bundler.model.target import Target
from bundler.venvs.isolation import NETWORK, NONE, ROOT, detect
from bundler.venvs.proof import prove, prove_all, settings_for
from bundler.venvs.proof_report import Check, ProofReport
from bundler.venvs.proof_request import ProofSettings

if TYPE_CHECKING:
    from tests.proof.conftest import Workshop

GOOD = "def main():\n    pass\n"
#: What a package does at import, and the beginning of what the report says of it.
FAULTS = {
    "raises": ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
    "lacks": ("other = 1", "AttributeError: module 'lacks' has no attribute 'main'"),
    "quits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "dies": ("import os; os._exit(0)", "the process ended with status 0 while loading"),
    "crashes": ("import os; os.abort()", "killed by SIGABRT"),
    "closes": ("import os; os.closerange(0, 99); os._exit(4)", "the process ended with status 4"),
    "garbles": ("def main(:", "SyntaxError: "),
}


def of(report: ProofReport, name: str) -> Check:
    """Return the only check of that name."""
    (found,) = [check for check in report.checks if check.name == name]
    return found


def test_every_fault_at_import_is_caught_and_named(
    workshop: Workshop, settings: Callable[..., ProofSettings]
) -> None:
    """A script whose module fails, leaves or crashes at import fails alone, with what happened."""
    toys = [workshop.toy(name, code) for name, (code, _) in FAULTS.items()]
    request = workshop.request(workshop.toy("good"), *toys)

    report = prove(request, settings(), workshop.store, ignore)

    assert not of(report, "good-main").error
    for name, (_, expected) in FAULTS.items():
        assert of(report, f"{name}-main").error.startswith(expected)
    assert {check.package for check in report.failures} == set(FAULTS)
    assert of(report, "raises-main").where.endswith("site-packages/raises.py:1")


def test_an_entry_point_that_hangs_is_ended(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """Loading that does not end is stopped at the time-out, with the processes that it started."""
    code = "import os, time\nif os.fork() == 0:\n    time.sleep(300)\ntime.sleep(300)\n"
    request = workshop.request(workshop.toy("hangs", code), workshop.toy("good"))

    report = prove(request, settings(timeout=1.5), workshop.store, ignore)

    assert of(report, "hangs-main").error == "not done within 1.5 s"
    assert not of(report, "good-main").failed


@pytest.mark.isolation
def test_a_proved_venv_sees_no_network_and_nothing_of_the_host(
    workshop: Workshop, in_root: ProofSettings, tmp_path: Path
) -> None:
    """Inside the throw-away root there is no network, no file of the host, no variable of the caller."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    code = f"""
import os, socket, sys
assert sys.prefix == "/openstack/venvs/toys-1", sys.prefix
assert not os.path.exists({str(secret)!r})
assert sorted(os.listdir("/proof")) == ["pip.whl", "runner.py"]
assert set(os.environ) <= {{"HOME", "LC_ALL", "LC_CTYPE", "PATH", "PYTHONHASHSEED", "TZ", "PWD"}}, os.environ
assert os.path.expanduser("~service") == "/tmp" and os.getuid() == 1000
for path in ("/x", "/openstack/venvs/toys-1/x", "/usr/x"):
    try:
        open(path, "w")
    except OSError:
        continue
    raise AssertionError(path)
open("/tmp/x", "w").close()
"""
    calls = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"
    request = workshop.request(workshop.toy("looks", code + GOOD), workshop.toy("calls", calls))

    report = prove(request, in_root, workshop.store, ignore)

    assert of(report, "looks-main").error == ""
    assert "Network is unreachable" in of(report, "calls-main").error
    assert report.unisolated == ()


@pytest.mark.isolation
@pytest.mark.parametrize("path", ["/usr/local/venvs/toys", "/usr/share/toys", "/opt/toys", "/var/lib/toys", "/t"])
def test_any_install_path_can_be_proved(workshop: Workshop, in_root: ProofSettings, path: str) -> None:
    """The venv stands at its own install path, also below a directory that the system owns."""
    smoke = (Smoke(run="python -c 'import sys; print(sys.prefix)'", expect=f"^{path}$"),)
    request = workshop.request(workshop.toy("good"), install_path=path, smoke=smoke)

    report = prove(request, in_root, workshop.store, ignore)

    assert report.passed, report.failures


@pytest.mark.isolation
def test_reports_with_and_without_a_root_agree(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """Without namespaces the same facts come out, from another path, and the report says what was not isolated."""
    request = workshop.request(workshop.toy("good"), workshop.toy("raises", "import nowhere"))

    in_root, bare = (prove(request, settings(isolation), workshop.store, ignore) for isolation in (ROOT, NONE))

    assert bare.unisolated == ("install path", "network", "root")
    assert dataclasses.replace(bare, unisolated=()) == in_root
    assert str(workshop.store.root).encode() not in bare.to_json()


def test_the_best_isolation_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bubblewrap the network alone is cut off; without unshare nothing is, and both are said."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    nothing = detect(tmp_path / "a")
    (tmp_path / "bin" / "unshare").write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    (tmp_path / "bin" / "unshare").chmod(0o755)

    assert nothing == NONE
    assert detect(tmp_path / "b") == NETWORK
    assert "network" not in NETWORK.unisolated


@pytest.mark.isolation
def test_where_only_the_network_can_be_cut_it_is(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """The fall-back with unshare has no network either."""
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"

    report = prove(workshop.request(workshop.toy("calls", code)), settings(NETWORK), workshop.store, ignore)

    assert "Network is unreachable" in of(report, "calls-main").error


def test_other_entry_points_are_reported_only(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """Entry points that are no scripts are all tried, also after one that kills the process, and fail nothing."""
    others = {"a.ok": "plug:main", "b.dies": "dies", "c.missing": "nowhere:x", "d.ok": "plug:main"}
    plug, dies = workshop.toy("plug", others=others), workshop.toy("dies", "import os; os._exit(1)", scripts=())

    report = prove(workshop.request(plug, dies), settings(), workshop.store, ignore)

    found = {check.group: check.error for check in report.checks if check.kind == "entry-point"}
    assert {group for group, error in found.items() if not error} == {"a.ok", "d.ok"}
    assert found["b.dies"] == "the process ended with status 1 while loading"
    assert report.passed
    assert report.entry.checks == 2


def test_each_script_is_loaded_in_a_fresh_process(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """What one script imports is not there for the next."""
    first = workshop.toy("first", "import sys; sys.modules['ghost'] = sys\ndef main(): pass\n")
    second = workshop.toy("second", "import ghost\ndef main(): pass\n")

    report = prove(workshop.request(first, second), settings(), workshop.store, ignore)

    assert [check.name for check in report.failures] == ["second-main"]


def test_the_runner_leaves_import_hooks_alone(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """Looking for pip does not wake hooks of the venv: that of setuptools gives up distutils when asked for pip."""
    hook = """
import sys
class Hook:
    def find_spec(self, name, path=None, target=None):
        assert name != "pip"
sys.meta_path.insert(0, Hook())
"""
    site = "lib/py/site-packages"
    request = workshop.request(
        workshop.toy("good"), files={f"{site}/a.pth": "import hook\n", f"{site}/hook.py": hook}
    )

    report = prove(request, settings(), workshop.store, ignore)

    assert not of(report, "good-main").failed


def test_a_script_that_is_not_in_bin_fails(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """An entry point whose script was not installed is a failure although its target loads."""
    request = workshop.request(workshop.toy("good", scripts=()), files=_declared("good"))

    report = prove(request, settings(), workshop.store, ignore)

    assert of(report, "good-main").error == "bin/good-main is missing"


def _declared(name: str) -> dict[str, str]:
    path = f"lib/py/site-packages/{name}-1.0.dist-info/entry_points.txt"
    return {path: f"[console_scripts]\n{name}-main = {name}:main\n"}


def test_an_unmet_dependency_is_found(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """The check of pip runs although the venv has no pip, and each line of it is a failure of its own."""
    needy = workshop.toy("needy", requires=("absent>=2", "good>2"))

    report = prove(workshop.request(workshop.toy("good"), needy), settings(), workshop.store, ignore)

    assert [(check.package, check.name) for check in report.failures] == [("needy", "absent"), ("needy", "good")]
    assert report.failures[1].error == "needy 1.0 has requirement good>2, but you have good 1.0."


def test_smoke_commands_must_end_well_and_match(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """A smoke command fails by status, by output, by an unknown package, by a bad pattern or a bad command line."""
    smoke = (
        Smoke(run="good-main", expect="^good {version[Good]} at work$"),
        Smoke(run="good-main", expect="2[.]0"),
        Smoke(run="good-main", expect="{version[nix]}"),
        Smoke(run="good-main", expect="("),
        Smoke(run="python -c 'raise SystemExit(5)'"),
        Smoke(run="no-such-command --version"),
        Smoke(run="good-main '"),
        Smoke(run="good-main; echo"),
    )
    request = workshop.request(workshop.toy("good", "def main():\n    print('good 1.0 at work')\n"), smoke=smoke)

    report = prove(request, settings(), workshop.store, ignore)

    errors = [check.error for check in report.checks if check.kind == "smoke"]
    for beginning in (
        "",
        "its output has no '2[.]0': good 1.0 at work",
        "expect names package nix",
        "expect is no regular expression",
        "status 5",
        "status 127: FileNotFoundError",
        "the command line does not parse",
    ):
        assert any(error.startswith(beginning) for error in errors), beginning
    assert errors.count("") == 1


def test_all_failures_of_all_venvs_are_told(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """The error names venv, package, entry point, fault and remedy for each failure of each venv."""
    first = workshop.request(workshop.toy("good"), workshop.toy("raises", "import yaml.x"), venv="one")
    second = workshop.request(workshop.toy("quits", "raise SystemExit"), venv="two")
    seen: list[Event] = []

    with pytest.raises(ProofFailed) as caught:
        prove_all((first, second), settings(), workshop.store, seen.append)

    texts = [str(problem) for problem in caught.value.problems]
    assert [text.partition(" on ")[0] for text in texts] == ["one", "two"]
    assert "raises: console_scripts raises-main: ModuleNotFoundError" in texts[0]
    assert "pyyaml" in texts[0]
    assert "entry_point: raises-main" in texts[0]
    assert seen.count(StageAdvanced(stage="proof")) == 2


def test_an_accepted_failure_carries_its_reason(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """An allow makes the proof pass, is recorded with its reason, and is warned about where it covers nothing."""
    rules = (
        AllowedFailure(entry_point="raises-*", package="raises", reason="needs a driver that is not carried"),
        AllowedFailure(entry_point="good-main", reason="stale rule"),
    )
    request = workshop.request(workshop.toy("good"), workshop.toy("raises", "import nowhere"), allow=rules)
    seen: list[Event] = []

    (report,) = prove_all((request,), settings(), workshop.store, seen.append)

    assert report.entry.allowed == 1
    assert of(report, "raises-main").accepted == "needs a driver that is not carried"
    assert [event.message for event in seen if isinstance(event, Warned)] == [
        "proof.allow: good-main covers no failure"
    ]


def test_an_unchanged_venv_is_not_proved_twice(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """A proof is reused for the same archive, and done again for another smoke command or after a failure."""
    good = workshop.request(workshop.toy("good"))
    other = dataclasses.replace(good, smoke=(Smoke(run="good-main"),))
    bad = workshop.request(workshop.toy("raises", "import nowhere"), venv="bad")
    notes: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, ItemFinished):
            notes.append(event.note)

    reports = [prove(one, settings(), workshop.store, note) for one in (good, good, other, bad, bad)]

    assert notes == ["2 checks", "reused", "3 checks", "2 checks", "2 checks"]
    assert reports[0] == reports[1]


def test_the_log_has_output_and_timings(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """Raw output and times are beside the report, not in it."""
    chatty = workshop.toy("chatty", "print('hello from import')\ndef main(): pass\n")
    chosen = settings()

    report = prove(workshop.request(chatty), chosen, workshop.store, ignore)

    assert chosen.logs is not None
    log = (chosen.logs / f"{workshop.target.name}-toys.log").read_text()
    assert "hello from import" in log
    assert b"hello" not in report.to_json()


def test_a_level_of_none_proves_nothing_and_says_so(
    workshop: Workshop, settings: Callable[..., ProofSettings]
) -> None:
    """Without a proof the report neither passes nor fails the run."""
    request = dataclasses.replace(workshop.request(workshop.toy("raises", "import nowhere")), level="none")

    (report,) = prove_all((request,), settings(), workshop.store, ignore)

    assert (report.level, report.passed, report.checks) == ("none", False, ())


def test_a_foreign_target_is_refused(
    workshop: Workshop, settings: Callable[..., ProofSettings], host: Target
) -> None:
    """A venv of another system, or for a Python that is not here, is refused with the way out."""
    foreign = dataclasses.replace(host, name="ubuntu-24.04-x86_64", distro="ubuntu", version="24.04")
    python = dataclasses.replace(host.python, executable="/usr/bin/python3.99")
    requests = [
        dataclasses.replace(workshop.request(workshop.toy("good")), target=target)
        for target in (foreign, dataclasses.replace(host, python=python))
    ]

    with pytest.raises(ProofFailed) as caught:
        prove_all(requests, settings(host=host), workshop.store, ignore)

    assert {problem.hint for problem in caught.value.problems} == {
        "build on ubuntu-24.04-x86_64, or set proof.level: none",
        f"install Python {host.python.version}",
    }


def test_an_interpreter_that_does_not_start_is_a_failure(
    workshop: Workshop, settings: Callable[..., ProofSettings]
) -> None:
    """A venv in which Python itself cannot run is reported like any other failure."""
    broken = {"lib/py/site-packages/ends.pth": "import os; os._exit(9)\n"}
    requests = [workshop.request(workshop.toy("good"), files=broken)]

    with pytest.raises(ProofFailed) as caught:
        prove_all(requests, settings(), workshop.store, ignore)

    assert "the venv's interpreter does not run" in caught.value.problems[0].what


def test_modules_of_system_packages_are_imported(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """Each top-level module of a linked system package is imported in a process of its own."""
    request = dataclasses.replace(workshop.request(workshop.toy("good")), modules=("good", "libnowhere"))

    report = prove(request, settings(), workshop.store, ignore)

    assert [check.name for check in report.failures] == ["libnowhere"]


def test_settings_find_the_isolation_of_this_host(workshop: Workshop, tmp_path: Path) -> None:
    """The settings that a build uses hold the isolation that was tried out, and leave nothing behind."""
    found = settings_for(workshop.store, workers=3, logs=tmp_path)

    with workshop.store.workdir("x") as scratch:
        assert found.isolation == detect(scratch)
    assert list(workshop.store.tmp.iterdir()) == []


def test_an_archive_of_other_bytes_is_not_proved(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """A proof is of the archive whose digest it names; truncated or foreign blobs are refused."""
    good = workshop.request(workshop.toy("good"))
    data = workshop.store.path(good.blobs[0]).read_bytes()
    half = workshop.store.put(data[: len(data) // 2]).digest
    requests = [
        dataclasses.replace(good, archive="0" * 64),
        dataclasses.replace(good, archive=half, blobs=(half,)),
    ]

    with pytest.raises(ProofFailed) as caught:
        prove_all(requests, settings(), workshop.store, ignore)

    assert [problem.hint for problem in caught.value.problems] == ["run the build again"] * 2


def test_unreadable_entry_points_are_a_failure(workshop: Workshop, settings: Callable[..., ProofSettings]) -> None:
    """A distribution whose entry points cannot be read fails as a whole; a value that is none fails alone."""
    files = {
        "lib/py/site-packages/bad-1.0.dist-info/entry_points.txt": "[console_scripts]\nbad-main\n",
        "lib/py/site-packages/odd-1.0.dist-info/entry_points.txt": "[some.group]\nodd = !!!\n",
    }
    toys = (workshop.toy("bad"), workshop.toy("odd"), workshop.toy("good"))

    report = prove(workshop.request(*toys, files=files), settings(), workshop.store, ignore)

    assert [check.package for check in report.failures] == ["bad"]
    assert of(report, "odd").error
