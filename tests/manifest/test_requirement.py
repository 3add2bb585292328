"""Requirements: the accepted forms, and what is said about the others."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from bundler.errors import RequirementError
from bundler.model.requirement import GitReference, Requested, has_credentials, parse_requirement
from bundler.model.target import known_target


def test_pep508_parts_are_kept_and_the_name_is_normalised() -> None:
    """A requirement with extras, specifier and marker comes apart into them."""
    found = parse_requirement("Oslo.Messaging[kafka,AMQP1]>=17,<18; python_version>='3.11'")

    assert (found.name, found.extras) == ("oslo-messaging", ("amqp1", "kafka"))
    assert found.specifier == "<18,>=17"
    assert found.to_pep508() == 'oslo-messaging[amqp1,kafka]<18,>=17; python_version >= "3.11"'


@pytest.mark.parametrize(
    ("line", "git"),
    [
        (
            "nova @ git+https://git.example/nova@stable/2026.1#subdirectory=src",
            GitReference(url="https://git.example/nova", revision="stable/2026.1", subdirectory="src"),
        ),
        (
            "git+https://git.example/nova@c0ffee#egg=nova&subdirectory=src",
            GitReference(url="https://git.example/nova", revision="c0ffee", subdirectory="src"),
        ),
        ("git+https://git.example/nova#egg=nova", GitReference(url="https://git.example/nova")),
        (
            "nova @ git+ssh://git@git.example/nova.git@v1",
            GitReference(url="ssh://git@git.example/nova.git", revision="v1"),
        ),
        ("nova @ git+file:///srv/nova@v1", GitReference(url="file:///srv/nova", revision="v1")),
    ],
)
def test_git_forms_mean_the_same(line: str, git: GitReference) -> None:
    """PEP 508 references and OpenStack-Ansible's ``#egg=`` both name a repository, revision and subdirectory."""
    found = parse_requirement(line)

    assert found.name == "nova"
    assert found.git == git


def test_egg_form_keeps_extras_and_marker() -> None:
    """``#egg=name[extra]`` and a marker behind it survive the change to PEP 508."""
    found = parse_requirement("git+https://git.example/nova@1#egg=Nova[osprofiler] ; python_version < '4'")

    assert found.to_pep508() == 'nova[osprofiler] @ git+https://git.example/nova@1 ; python_version < "4"'


@pytest.mark.parametrize(
    ("line", "path", "rooted"),
    [
        ("plugin @ ./src/plugin", "./src/plugin", "file:///base/src/plugin"),
        ("plugin @ /srv/plugin", "/srv/plugin", "file:///srv/plugin"),
        ("plugin @ file:///srv/my%20plugin", "/srv/my plugin", "file:///srv/my plugin"),
    ],
)
def test_local_sources_are_paths(line: str, path: str, rooted: str) -> None:
    """A local reference is a path, which the manifest's directory makes absolute."""
    found = parse_requirement(line)

    assert found.path == path
    assert str(found.rooted(PurePosixPath("/base")).to_pep508()).endswith(rooted)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("git+https://git.example/nova@1", "#egg=name"),
        ("nova=1.0", "write =="),
        ("-e git+https://git.example/nova", "write name @"),
        ("./plugin", "write name @ ./plugin"),
        ("hg+https://hg.example/nova#egg=nova", "into git"),
        ("nova @ git+https://git.example/nova@1#egg=glance", "drop #egg="),
        ("nova @ git+https://git.example/nova@", "commit, tag or branch"),
        ("nova @ git+https://git.example/nova@1#subdirectory=../x", "relative"),
        ("nova @ git+https://git.example/nova@1#sub=x", "subdirectory"),
        ("nova @ git+git@git.example:nova", "git+ssh://"),
        ("nova @ ftp://files.example/nova.whl", "https://"),
        ("", "remove it"),
        ("nova\n--index-url x", "one requirement"),
    ],
)
def test_refused_forms_say_what_to_write(line: str, hint: str) -> None:
    """Everything else is refused with the form that would be accepted."""
    with pytest.raises(RequirementError) as caught:
        parse_requirement(line)

    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "https://joe:s3cret@git.example/nova",
        "https://s3cret@git.example/nova",
        "git+https://joe:s3cret@git.example/nova@1",
        "git+ssh://joe:s3cret@git.example/nova@1",
    ],
)
def test_credentials_are_refused_and_not_repeated(url: str) -> None:
    """A password or token in a URL is refused, and the message does not hold it."""
    with pytest.raises(RequirementError) as caught:
        parse_requirement(f"nova @ {url}")

    assert "s3cret" not in str(caught.value) + caught.value.hint
    assert "netrc" in caught.value.hint


@pytest.mark.parametrize(
    "url", ["git+ssh://git@git.example/nova@1", "git+https://git.example/nova@1", "git+file:///srv/nova@1"]
)
def test_revisions_and_ssh_users_are_no_credentials(url: str) -> None:
    """An ``@`` before a revision, or a bare SSH user, is not taken for a secret."""
    assert not has_credentials(url)


def test_markers_are_evaluated_for_the_target() -> None:
    """A marker holds or not by the target's environment, not by ours."""
    found = parse_requirement("tomli; python_version < '3.11' and platform_machine == 'aarch64'")

    assert found.applies(known_target("ubuntu-22.04-aarch64").markers)
    assert not found.applies(known_target("debian-12-aarch64").markers)


@given(st.text(max_size=80) | st.from_regex(r"\A(git\+)?[a-z]{2,5}:/{0,3}[ -~]{0,40}\Z"))
def test_any_text_is_a_requirement_or_an_error(text: str) -> None:
    """No text whatever leads to anything but a requirement or a RequirementError."""
    for found in map(outcome, (text, f"name @ {text}")):
        if isinstance(found, RequirementError):
            assert found.hint
        else:
            assert parse_requirement(found.to_pep508()).name == found.name


def outcome(text: str) -> Requested | RequirementError:
    try:
        return parse_requirement(text)
    except RequirementError as error:
        return error


@given(
    st.sampled_from(["a", "B.c", "d_e-f"]),
    st.lists(st.sampled_from(["x", "Y_z"]), unique=True),
    st.sampled_from(["", "==1.0", ">=1,<2", "~=1.4", "===weird"]),
    st.sampled_from(["", "; python_version < '3'", "; extra == 'x' or os_name == 'nt'"]),
)
def test_canonical_lines_are_stable(name: str, extras: list[str], specifier: str, marker: str) -> None:
    """The canonical line is PEP 508 and parses to itself."""
    line = parse_requirement(f"{name}[{','.join(extras)}]{specifier}{marker}").to_pep508()

    assert parse_requirement(line).to_pep508() == line
    assert str(Requirement(line).specifier) == specifier.replace(">=1,<2", "<2,>=1")
