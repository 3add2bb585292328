"""What mmdebstrap is told for a target."""

from __future__ import annotations

import pytest

from bundler.buildenv.recipe import Archive, base_recipe, build_packages, system_of
from bundler.errors import BuildEnvironmentError
from bundler.model.manifest import System
from bundler.model.target import known_target

MAIN = Archive(uri="http://mirror.test/debian/", origin="Debian", suite="bookworm", component="main")
UPDATES = Archive(uri="http://mirror.test/debian/", origin="Debian", suite="bookworm-updates", component="main")
SECURITY = Archive(uri="http://mirror.test/security/", origin="Debian", suite="bookworm-security", component="main")
OTHER = Archive(uri="http://tools.test/apt/", origin="Tools", suite="stable", component="main")
TRIXIE = known_target("debian-13-x86_64")
NOBLE = known_target("ubuntu-24.04-aarch64")


def test_this_hosts_mirrors_serve_other_suites_of_the_distribution() -> None:
    """Main archive, updates and security are taken over with the suite of the target; other archives are not."""
    recipe = base_recipe(TRIXIE, System(), (MAIN, UPDATES, SECURITY, OTHER), ())

    assert recipe.sources == (
        "deb http://mirror.test/debian/ trixie main",
        "deb http://mirror.test/debian/ trixie-updates main",
        "deb http://mirror.test/security/ trixie-security main",
    )
    assert (recipe.architecture, recipe.packages) == ("amd64", ("python3",))


def test_another_distribution_needs_its_mirror_named() -> None:
    """A Debian host knows no Ubuntu archive: the message says which field to write."""
    with pytest.raises(BuildEnvironmentError, match="knows no mirror of ubuntu") as caught:
        base_recipe(NOBLE, System(), (MAIN,), ())

    assert "systems.ubuntu-24.04.mirrors" in caught.value.hint


def test_named_mirrors_come_with_their_keyring_and_components() -> None:
    """An address becomes a line of the suite; a whole line is taken as it is."""
    line = "deb http://mirror.test/extra noble-extra main"
    system = System(
        mirrors=("http://mirror.test/ubuntu", line), components=("main", "universe"), keyring="/keys/u.gpg"
    )
    recipe = base_recipe(NOBLE, system, (), ())

    assert recipe.sources == ("deb [signed-by=/keys/u.gpg] http://mirror.test/ubuntu noble main universe", line)
    assert recipe.architecture == "arm64"


def test_a_distribution_that_mmdebstrap_cannot_make_is_sent_to_containers() -> None:
    """Rocky has no suite: the hint names the other way."""
    with pytest.raises(BuildEnvironmentError, match="no root file system can be made for rocky-9-x86_64") as caught:
        base_recipe(known_target("rocky-9-x86_64"), System(), (MAIN,), ())

    assert "container" in caught.value.hint


def test_the_most_specific_entry_of_the_manifest_counts() -> None:
    """An entry for the target beats one for its distribution."""
    systems = {"debian": System(suite="a"), "debian-13-x86_64": System(suite="b"), "ubuntu": System(suite="c")}

    assert system_of(systems, TRIXIE).suite == "b"
    assert system_of(systems, known_target("debian-12-x86_64")).suite == "a"


def test_a_system_to_build_in_has_compilers_and_the_headers_of_its_python() -> None:
    """A second Python brings its own headers."""
    other = known_target("debian-12-x86_64-py313")

    assert {"build-essential", "python3-dev", "libldap-dev"} <= set(build_packages(TRIXIE, ["libldap-dev"]))
    assert "python3.13-dev" in build_packages(other, [])
    assert base_recipe(other, System(), (MAIN,), ()).packages == ("python3.13",)
