"""Options over environment over configuration file over default; mistakes are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import User


def test_without_a_file_everything_is_at_its_default(user: User) -> None:
    """Every value says that it is the default, and the file that is missing is named."""
    found = user.settings("build")

    assert found["build", "out"] == ("dist", "default")
    assert found["build", "workers"] == (None, "default")
    assert f"{user.config_file} (not there)" in user.run("config", "build").stdout


def test_environment_wins_over_the_file(user: User) -> None:
    """Of two values the environment's counts, and each says where it comes from."""
    user.configure("build: {out: /srv/file, workers: 3}\n")

    found = user.settings("build", env={"BUNDLE_BUILD_OUT": "/srv/environment"})

    assert found["build", "out"] == ("/srv/environment", "environment")
    assert found["build", "workers"] == (3, "file")


def test_an_option_wins_over_the_environment(user: User) -> None:
    """What stands on the command line counts; the file's value is used where nothing else is given."""
    user.configure("completion: {}\nmanifest: {explain: {target: debian-12-x86_64}}\n")
    other = {"BUNDLE_MANIFEST_EXPLAIN_TARGET": "no-such-target"}

    assert "one on debian-12-x86_64" in user.run("manifest", "explain", "tiny.yaml").stdout
    user.run("manifest", "explain", "tiny.yaml", env=other, status=10)
    user.run("manifest", "explain", "tiny.yaml", "--target", "debian-12-x86_64", env=other)


def test_json_can_be_set_in_the_file(user: User) -> None:
    """A common option in the file counts like one on the command line."""
    user.configure("manifest: {check: {json: true}}\n")

    assert user.run("manifest", "check", "tiny.yaml").stdout.startswith("[")


def test_options_are_spelled_as_on_the_command_line(user: User) -> None:
    """The file takes long names with dashes or underscores, one value for several, and ~ for the home."""
    user.configure("build: {development_key: true, volume-size: fat32, key: ~/key, signer: [alice]}\n")

    found = user.settings("build")

    assert found["build", "development-key"] == (True, "file")
    assert found["build", "volume-size"] == ("fat32", "file")
    assert found["build", "key"] == ([f"{user.home}/key"], "file")
    assert found["build", "signer"] == (["alice"], "file")


def test_all_unknown_keys_are_named_with_the_nearest(user: User) -> None:
    """Mistakes of the file come together, each with its place and the nearest key."""
    user.configure("stor: /x\nbuild: {ouut: /y, workers: many}\nbild: {}\n")

    done = user.run("config", status=2)

    assert "4 problems" in done.stderr
    assert "stor: unknown key (did you mean store?)" in done.stderr
    assert "ouut: unknown key (did you mean out?)" in done.stderr
    assert "bild: unknown key (did you mean build?)" in done.stderr
    assert "workers: 'many' is not a valid integer range" in done.stderr


def test_one_mistake_is_one_line_and_a_hint(user: User) -> None:
    """A single unknown key needs no list."""
    user.configure("build: {ouut: /y}\n")

    done = user.run("manifest", "sample", status=2)

    assert done.stderr == f"error: {user.config_file}: build: ouut: unknown key\nhint: did you mean out?\n"


@pytest.mark.parametrize("text", ["[1, 2]\n", "a: [\n", "build: 3\n", "\x00"])
def test_what_is_no_mapping_is_refused(user: User, text: str) -> None:
    """A file that is no YAML, or maps nothing, is one clear error that names it."""
    user.configure(text)

    assert str(user.config_file) in user.run("config", status=2).stderr


def test_an_empty_file_changes_nothing(user: User) -> None:
    """A file of comments only is fine."""
    user.configure("# nothing yet\n")

    assert "Everything is at its default." in user.run("config", "--changed", "build").stdout


def test_a_named_file_must_be_there(user: User) -> None:
    """BUNDLE_CONFIG names another file; a wrong name is an error, not silence."""
    done = user.run("config", env={"BUNDLE_CONFIG": "missing.yaml"}, status=2)

    assert "missing.yaml: there is no such file" in done.stderr


def test_a_wrong_value_says_where_it_was_set(user: User) -> None:
    """The hint names the variable of the environment."""
    done = user.run("build", "tiny.yaml", env={"BUNDLE_BUILD_WORKERS": "many"}, status=2)

    assert "BUNDLE_BUILD_WORKERS" in done.stderr


def test_an_unknown_command_has_no_configuration(user: User) -> None:
    """Config COMMAND refuses a command that does not exist."""
    assert "no command nope" in user.run("config", "nope", status=2).stderr


def test_the_far_side_reads_no_configuration_file(user: User) -> None:
    """Nothing in a home directory changes how bundle-install verifies."""
    user.configure("nonsense: 1\n")
    (user.home / "config" / "bundle-install").mkdir()
    (user.home / "config" / "bundle-install" / "config.yaml").write_text("verify: {threshold: 0}\n")

    user.run("--version", program="bundle-install")
    user.run("verify", "--help", program="bundle-install")
