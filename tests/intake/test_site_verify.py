"""The command `bundle-install verify` as people run it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bundler.deploy.state import record_bundle
from tests.bundles import Keys
from tests.intake.conftest import SiteBench

BIN = Path(sys.executable).parent / "bundle-install"
VOLUME = "debian-12-x86_64-001.tar.zst"
SITE = """\
name: plant
targets: [debian-12-x86_64]
repo_hosts:
- {name: here, transport: local}
"""


def verify(plant: SiteBench, *arguments: Any, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command at the site."""
    done = subprocess.run(argv(plant, *arguments), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def argv(plant: SiteBench, *arguments: Any) -> list[str]:
    site = ("--config-dir", plant.places.config, "--state-dir", plant.places.state)
    return [str(BIN), "verify", *map(str, arguments), *map(str, site)]


def test_the_sites_trust_is_what_counts(bundle: Path, plant: SiteBench) -> None:
    """Without options the site's trust judges; the answer names signers, targets and volumes, and that one signed."""
    done = verify(plant, bundle)

    assert "signed by alice (single signer)" in done.stdout
    assert f"for this site: debian-12-x86_64, ubuntu-24.04-x86_64; common-001.tar.zst, {VOLUME}" in done.stdout
    assert plant.logged() == [*plant.logged()[:-1], "verified"]


def test_a_site_with_targets_reads_only_what_is_for_it(bundle: Path, plant: SiteBench) -> None:
    """With a site.yaml the volumes of other targets may be missing, and it is said that nobody read them."""
    plant.places.site.write_text(SITE)
    (bundle / "ubuntu-24.04-x86_64-001.tar.zst").unlink()

    done = verify(plant, bundle)

    assert f"for this site: debian-12-x86_64; common-001.tar.zst, {VOLUME}" in done.stdout
    assert "not read, for targets that this site does not have: ubuntu-24.04-x86_64-001.tar.zst" in done.stdout


def test_the_outcome_as_data(bundle: Path, plant: SiteBench) -> None:
    """With --json one document says the same."""
    value = json.loads(verify(plant, bundle, "--json", "--deep").stdout)

    assert value["signers"] == ["alice"]
    assert value["targets_here"] == ["debian-12-x86_64", "ubuntu-24.04-x86_64"]
    assert VOLUME in value["volumes_here"]
    assert value["unread"] == []


def test_a_refusal_has_its_rule_and_number(bundle: Path, plant: SiteBench) -> None:
    """What the site would refuse is refused here too, under the rule's name and exit status."""
    record_bundle(plant.places, line="demo-2026.1", epoch=0, sequence=2**32, digest="ab" * 32, floor=0, created=1)

    done = verify(plant, bundle, "--json", status=76)

    assert json.loads(done.stderr.splitlines()[-1])["error"] == "SequenceRefused"
    assert plant.logged()[-1] == "refused"


def test_a_file_of_signers_asks_nothing_of_the_site(bundle: Path, plant: SiteBench, keys: Keys) -> None:
    """A host without trust checks by a file: then no state is read and nothing is logged."""
    shutil.rmtree(plant.places.config)
    logged = plant.logged()

    done = verify(plant, bundle, "--allowed-signers", keys.allowed, "-n", 1)

    assert "signed by alice" in done.stdout
    assert plant.logged() == logged
    verify(plant, bundle, "--allowed-signers", keys.allowed, "-n", 2, status=70)


@pytest.mark.parametrize("option", [("-n", "2"), ("-r", "revoked")])
def test_options_that_cannot_be_honoured_are_refused(bundle: Path, plant: SiteBench, option: tuple[str, str]) -> None:
    """A threshold or revoked keys on the command line do not go with the site's trust."""
    assert "--allowed-signers" in verify(plant, bundle, *option, status=2).stderr


def test_a_site_without_trust_says_so(bundle: Path, plant: SiteBench) -> None:
    """With neither trust nor a file of signers nothing is accepted."""
    shutil.rmtree(plant.places.config)

    verify(plant, bundle, status=74)


def test_a_stick_with_one_bundle_is_enough(bundle: Path, plant: SiteBench, tmp_path: Path) -> None:
    """The top directory of a stick will do; with two bundles on it they are listed."""
    stick = tmp_path / "stick"
    shutil.copytree(bundle, stick / "one")
    verify(plant, stick)
    shutil.copytree(bundle, stick / "two")

    assert "one, two" in verify(plant, stick, status=2).stderr


def spread(bundle: Path, stick: Path) -> None:
    """Move a volume of the bundle to another stick."""
    stick.mkdir()
    for name in ("SHA256SUMS", "SHA256SUMS.alice.sig"):
        shutil.copy(bundle / name, stick)
    shutil.move(bundle / VOLUME, stick)


def test_several_sticks_are_given_at_once(bundle: Path, plant: SiteBench, tmp_path: Path) -> None:
    """Volumes may lie on any of the media; without a terminal what is missing is an error that names it."""
    spread(bundle, tmp_path / "second")

    verify(plant, bundle, tmp_path / "second")

    assert VOLUME in verify(plant, bundle, status=64).stderr


def test_the_next_stick_is_asked_for_at_a_terminal(
    bundle: Path, plant: SiteBench, tmp_path: Path, terminal: Any
) -> None:
    """At a terminal the missing names are shown and the next medium is asked for, until one is there."""
    spread(bundle, tmp_path / "second")

    with terminal.run(*argv(plant, bundle)) as session:
        session.expect(f"1 file is on another medium: {VOLUME}")
        session.expect("Where is the next one")
        session.type("/nowhere\n")
        session.expect("there is nothing at /nowhere")
        session.type(f"{tmp_path / 'second'}\n")
        session.expect("signed by alice")

    assert session.status == 0
