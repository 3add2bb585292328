"""`site check`: files and pinned keys, too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bundler.cli.context import Output
from bundler.cli.install import group
from bundler.deploy.places import Places
from bundler.deploy.site_file import read_site
from bundler.errors import SiteError
from bundler.model.site_known_hosts import parse_known_hosts, pinned
from bundler.workflows.site.site import check_site

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.fixture
def known(places: Places) -> Path:
    """Return a known_hosts file with both hosts of the site, which names it."""
    path = places.config / "known_hosts"
    path.write_text(f"# hosts\n10.0.0.11,repo1 {KEY}\n[10.0.0.12]:2222 {KEY}\n")
    places.site.write_text(f"{places.site.read_text()}ssh: {{known_hosts: {path}}}\n")
    return path


def found(places: Places) -> list[str]:
    with pytest.raises(SiteError) as caught:
        check_site(places.site)
    return [str(problem) for problem in caught.value.problems]


def run(places: Places, *words: str) -> Result:
    options = ["--config-dir", str(places.config)] if words[:2] == ("site", "check") else []
    return CliRunner().invoke(group, [*words, *options, "--json"], obj=Output())


def test_a_site_with_pinned_hosts_has_no_problems(places: Places, known: Path) -> None:
    """The command says so, and lists the hosts."""
    done = run(places, "site", "check")

    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["repo_hosts"] == ["repo1", "repo2"]


def test_hashed_names_are_found(places: Places, known: Path) -> None:
    """What ssh-keygen -H made of the file pins the same hosts."""
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert "10.0.0.11" not in known.read_text()

    assert check_site(places.site).name == "plant-7"


def test_a_key_for_another_port_does_not_count(places: Places, known: Path) -> None:
    """A server on port 2222 is not the one on port 22."""
    known.write_text(f"10.0.0.11,10.0.0.12 {KEY}\n")

    problems = found(places)

    assert len(problems) == 1
    assert problems[0].startswith(
        f"repo_hosts[1] (repo2): {known} has no key of [10.0.0.12]:2222 (ssh-keyscan -p 2222 "
    )


def test_missing_files_are_named(places: Places, known: Path) -> None:
    """The identity and the known_hosts file have to be there."""
    known.unlink()
    places.site.write_text(places.site.read_text().replace("{known", "{identity: /nowhere/id, known"))

    assert [one.split(":")[0] for one in found(places)] == ["ssh.identity", "ssh.known_hosts"]


def test_an_identity_that_others_can_read_is_a_problem(places: Places, known: Path, host_key: Path) -> None:
    """As ssh itself has it."""
    host_key.chmod(0o644)
    places.site.write_text(places.site.read_text().replace("{known", f"{{identity: {host_key}, known"))

    assert "can be read by others (mode 0644)" in found(places)[0]

    host_key.chmod(0o600)
    assert check_site(places.site).ssh.identity == str(host_key)


def test_the_jump_host_needs_a_key_too(places: Places, known: Path) -> None:
    """It is a host like others."""
    places.site.write_text(places.site.read_text().replace("{known", "{jump: ops@10.0.0.1, known"))

    assert "ssh.jump" in found(places)[0]


def test_a_login_needs_a_key_or_an_agent(places: Places, known: Path) -> None:
    """Without both nobody could ever log in."""
    places.site.write_text(places.site.read_text().replace("{known", "{agent: false, known"))

    assert "nothing to log in with" in found(places)[0]


def test_a_local_host_needs_neither_keys_nor_files(places: Places) -> None:
    """It is this very host."""
    places.site.write_text("name: a\nrepo_hosts: [{name: here, transport: local}]\n")

    assert check_site(places.site).name == "a"


@pytest.mark.parametrize(
    ("line", "address", "port", "known"),
    [
        (f"*.example {KEY}", "a.example", 22, True),
        (f"*.example,!b.example {KEY}", "b.example", 22, False),
        (f"10.0.0.? {KEY}", "10.0.0.7", 22, True),
        (f"A.EXAMPLE {KEY}", "a.example", 22, True),
        (f"[a]:22 {KEY}", "a", 22, False),
        (f"[a]:2222 {KEY}", "a", 2222, True),
        (f"@cert-authority *.example {KEY}", "a.example", 22, True),
        (f"@revoked a {KEY}", "a", 22, False),
        (f"a {KEY}\n@revoked * {KEY}", "a", 22, False),
        (f"|1|xx|yy {KEY}", "a", 22, False),
    ],
)
def test_lines_pin_what_sshd_says(line: str, address: str, port: int, known: bool) -> None:
    """Patterns, negations, ports and markers are read as sshd(8) describes them."""
    entries, wrong = parse_known_hosts(line.encode(), "known_hosts")

    assert not wrong
    assert bool(pinned(entries, address, port)) is known


@pytest.mark.parametrize("line", ["a", "a ssh-ed25519", "a ssh-ed25519 !!", "@strange a b c", "@revoked"])
def test_a_line_that_is_none_is_a_problem(line: str) -> None:
    """It is named with its number."""
    entries, wrong = parse_known_hosts(f"\n{line}\n".encode(), "known_hosts")

    assert not entries
    assert wrong[0].where == "known_hosts:2"


def test_without_a_site_the_hint_says_how_to_begin(places: Places) -> None:
    """A missing file is an error with a way on."""
    places.site.unlink()

    with pytest.raises(SiteError, match="there is no") as caught:
        read_site(places)

    assert "site sample" in caught.value.hint


def test_a_directory_is_no_site(places: Places, tmp_path: Path) -> None:
    """Whatever lies there is not read if it is no file."""
    (tmp_path / "other" / "site.yaml").mkdir(parents=True)

    with pytest.raises(SiteError, match="no regular file"):
        read_site(Places(config=tmp_path / "other", state=tmp_path))


@pytest.mark.parametrize("verb", ["sample", "schema"])
def test_sample_and_schema_are_shown(places: Places, verb: str) -> None:
    """Both commands print JSON where that is asked for."""
    done = run(places, "site", verb)

    assert done.exit_code == 0
    assert json.loads(done.output)
