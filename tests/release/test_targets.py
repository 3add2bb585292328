"""Real targets: wheels compiled in root file systems of Debian 12 and 13, a venv proved on emulated arm64."""

from __future__ import annotations

import fcntl
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.archive.elf import read_elf
from bundler.bundle.reader import open_bundle
from bundler.model.contents import VenvEntry
from tests.release.conftest import World

pytestmark = [pytest.mark.rootfs, pytest.mark.network, pytest.mark.isolation, pytest.mark.slow]
MANIFEST = """\
schema: 1
release: {name: targets, version: "1"}
targets: [debian-12-x86_64, debian-13-x86_64, debian-12-aarch64]
build:
  environment: rootfs
constraints:
  - {name: pins, lines: [setuptools==80.10.2, python-ldap==3.4.5, systemd-python==235]}
venvs:
  directory:
    path: /opt/directory-1
    packages: [python-ldap, systemd-python, jsonpath-rw==1.4.0, setuptools]
    targets:
      debian-12-aarch64: {skip: true}
    distro_packages:
      build: [libldap-dev, libsasl2-dev, libsystemd-dev]
      runtime:
        debian-12: [libldap-2.5-0, libsystemd0]
        debian-13: [libldap2, libsystemd0]
    smoke:
      - run: python -c 'import ldap, systemd.journal; print(ldap.__version__)'
        expect: "{version[python-ldap]}"
  pages:  # a group of its own: what cannot be on the emulated target is not asked for its metadata there
    path: /opt/pages-1
    packages: [jinja2, markupsafe==3.0.2]
    constraints: {mode: replace, layers: [{name: own, lines: [markupsafe==3.0.2]}]}
    smoke:
      - run: python -c 'import markupsafe._speedups, platform; print(platform.machine())'
"""
#: What each system calls its libldap, and its Python.
OWN = {
    "debian-12-x86_64": ("libldap-2.5.so.0", "3.11.2"),
    "debian-13-x86_64": ("libldap.so.2", "3.13.5"),
}
EMULATED = "debian-12-aarch64"


@pytest.fixture(scope="session")
def targets(shared: Path) -> World:
    """Give the release of three targets, built by the first worker that asks."""
    world = World(shared / "targets")
    with (shared / "targets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not world.out.exists():
            world.root.mkdir(exist_ok=True)
            world.manifest.write_text(MANIFEST)
            world.build()
    return world


def venvs(world: World) -> dict[tuple[str, str], VenvEntry]:
    """Return the venvs of the bundle by name and target."""
    with open_bundle(world.bundle) as bundle:
        return {(venv.name, venv.target): venv for venv in bundle.contents.venvs}


def needed(world: World, target: str, package: str) -> Iterator[str]:
    """Yield the libraries that the compiled files of a package's wheel for ``target`` name."""
    entry = next(one for one in venvs(world)["directory", target].packages if one.name == package)
    with open_bundle(world.bundle) as bundle:
        data = b"".join(bundle.stream_blob(entry.wheel_sha256))
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        for name in wheel.namelist():
            if name.endswith(".so"):
                yield from read_elf(io.BytesIO(wheel.read(name))).needed


@pytest.mark.timeout(1500)
def test_every_venv_is_proved_on_its_own_target(targets: World) -> None:
    """Each in its target's system with its target's Python; the emulated one too."""
    found = venvs(targets)

    assert set(found) == {(name, target) for name in ("directory", "pages") for target in OWN} | {("pages", EMULATED)}
    assert {venv.proof.level for venv in found.values()} == {"target"}
    assert all(venv.proof.passed for venv in found.values())
    assert {target: venv.python for (_, target), venv in found.items()} == {
        EMULATED: "3.11.2",
        **{target: python for target, (_, python) in OWN.items()},
    }


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("target", OWN)
def test_compiled_packages_link_to_their_targets_own_libraries(targets: World, target: str) -> None:
    """The libldap of Debian 12 and of Debian 13 have different names; both have systemd's."""
    assert OWN[target][0] in set(needed(targets, target, "python-ldap"))
    assert "libsystemd.so.0" in set(needed(targets, target, "systemd-python"))


@pytest.mark.timeout(1500)
def test_a_compiled_wheel_serves_one_target_and_a_portable_one_all(targets: World) -> None:
    """python-ldap is built for each; jsonpath-rw gives the same bytes in both systems, so it is carried once."""
    found = venvs(targets)
    wheels = {
        (package.name, target): package.wheel_sha256
        for (_, target), venv in found.items()
        for package in venv.packages
    }

    assert len({wheels["python-ldap", target] for target in OWN}) == 2
    assert len({wheels["jsonpath-rw", target] for target in OWN}) == 1


@pytest.mark.timeout(1500)
def test_building_again_gives_the_same_bytes(targets: World, tmp_path: Path) -> None:
    """Wheels are compiled, layers made and venvs proved anew in the same systems: SHA256SUMS is the same."""
    other = targets.another(tmp_path / "again")
    other.store.mkdir()
    shutil.copytree(targets.store / "blobs", other.store / "blobs")
    for kind in ("rootfs", "metadata", "source-declares", "source-answers", "installer"):
        if (targets.store / "refs" / kind).is_dir():
            shutil.copytree(targets.store / "refs" / kind, other.store / "refs" / kind)
    (other.store / "rootfs").symlink_to(targets.store / "rootfs")
    other.build("--locked")

    assert other.sums == targets.sums


@pytest.mark.timeout(1500)
def test_a_library_that_only_the_build_had_is_named_with_its_package(targets: World, tmp_path: Path) -> None:
    """Without libldap2 among the runtime packages nothing is written: the message says what to add."""
    other = World(tmp_path / "lacking")
    other.root.mkdir()
    other.store.symlink_to(targets.store)
    text = MANIFEST.replace("debian-12-x86_64, debian-13-x86_64, debian-12-aarch64", "debian-13-x86_64")
    text = text.replace("    targets:\n      debian-12-aarch64: {skip: true}\n", "").replace("libldap2, ", "")
    other.manifest.write_text(text)
    done = other.run("build", other.manifest, "--out", other.out, "--development-key", status=54)

    assert "libldap.so.2" in done.stderr
    assert "libldap2" in done.stderr
    assert not other.out.exists() or not list(other.out.iterdir())
