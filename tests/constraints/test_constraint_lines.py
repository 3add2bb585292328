"""Reading constraint layers: what is accepted, and every refusal with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import ConstraintError
from bundler.model.constraints import Layer, parse_layer


def problems(text: str) -> list[str]:
    with pytest.raises(ConstraintError) as caught:
        parse_layer("user", text, "user.txt")
    return [str(problem) for problem in caught.value.problems]


def lines(layer: Layer) -> list[str]:
    return [entry.requirement for entry in layer.entries]


def test_comments_blank_lines_and_continuations_are_understood() -> None:
    """Comments, blank lines and continued lines read as pip reads them; names are normalised."""
    text = "\ufeff# header\r\n\r\nPaste_Deploy===3.1.0  # why\nnumpy \\\n  ==2.3.5 ; \\\n python_version>='3.11'\n"

    layer = parse_layer("user", text, "user.txt")

    assert lines(layer) == ["paste-deploy===3.1.0", 'numpy==2.3.5 ; python_version >= "3.11"']
    assert [entry.where for entry in layer.entries] == ["user.txt:3", "user.txt:4"]


def test_a_direct_reference_is_kept_whole() -> None:
    """A URL constraint keeps its fragment, which is no comment, and its marker."""
    text = "nova @ git+https://git.example/nova@0123abc#subdirectory=x ; python_version > '3.9'  # ours\n"

    (entry,) = parse_layer("user", text, "user.txt").entries

    assert entry.url == "git+https://git.example/nova@0123abc#subdirectory=x"
    assert entry.requirement.endswith('#subdirectory=x ; python_version > "3.9"')


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-r other.txt", "option -r"),
        ("--requirement other.txt", "option --requirement"),
        ("-c other.txt", "option -c"),
        ("-e git+https://git.example/nova#egg=nova", "option -e"),
        ("numpy==1 --hash=sha256:00", "option --hash"),
        ("--index-url https://index.example/simple", "option --index-url"),
        ("numpy=1", "no constraint"),
        ("git+https://git.example/nova#egg=nova", "write name @ URL"),
        ("./nova", "local path"),
        ("numpy[all]==1", "extras"),
        ("numpy==1;extra=='x'", "variable extra"),
        ("numpy==1;platform_release=='6'", "variable platform_release"),
        ("numpy==1;python_version==='3.9'", "told apart"),
        ("numpy==1;sys_platform>'linux'", "by order"),
        ("numpy==1;python_version>='three'", "no version"),
        ("numpy==${VERSION}", "${NAME}"),
        (f"numpy==1;{'(' * 3000}os_name=='x'{')' * 3000}", "no constraint|nested too deeply"),
        ("numpy" * 2000, "longer than"),
    ],
)
def test_what_a_layer_cannot_hold_is_refused(line: str, message: str) -> None:
    """Options, malformed lines and markers that say nothing about a target are refused with file and line."""
    (problem,) = problems(f"ok==1\n{line}\n")

    assert problem.startswith("user.txt:2: ")
    assert any(part in problem for part in message.split("|"))


def test_credentials_are_refused_and_never_shown() -> None:
    """A URL with a password is refused, and the message does not repeat it."""
    (problem,) = problems("nova @ git+https://me:hunter2@git.example/nova@0123abc\n")

    assert "credentials" in problem
    assert "hunter2" not in problem


def test_all_problems_of_a_layer_come_together() -> None:
    """One refusal lists every bad line and every contradiction."""
    found = problems("a==1\n-r x\nb=2\na==2\n")

    assert len(found) == 3
    assert found[2].startswith("user.txt:4: a==2 contradicts a==1 at user.txt:1")


@pytest.mark.parametrize(
    "text",
    [
        "a==1\nA===1.0\n",
        "a==1;python_version<'3.11'\na==2;python_version>='3.11'\n",
        "a==1;sys_platform=='linux'\na==2;os_name=='nt'\n",
        "a==1;platform_machine in 'x86_64 AMD64'\na==2;platform_machine not in 'x86_64 AMD64'\n",
        "a==1;python_full_version<'3.11.4'\na==2;python_full_version>='3.11.4'\n",
        "a>=1\na==2\n",
        "a\na==2\n",
        "a==1;python_version~='3.10'\na==2;python_version<'3.10'\n",
    ],
)
def test_lines_that_fit_together_are_no_contradiction(text: str) -> None:
    """The same version twice, markers that exclude each other, and a pin inside a range are fine."""
    assert parse_layer("user", text, "user.txt").entries


@pytest.mark.parametrize(
    "text",
    [
        "a==1\na==2\n",
        "a==1;python_version<'3.11'\na==2;python_version<='3.11'\n",
        "a==1;sys_platform=='linux'\na==2;platform_machine=='aarch64'\n",
        "a<2\na==2\n",
        "a @ https://files.example/a-1.tar.gz\na @ https://files.example/a-2.tar.gz\n",
        "a==1;python_full_version<='3.11.4'\na==2;python_full_version>='3.11.4'\n",
        "a==1;'arm' in platform_machine\na==2;'v7' in platform_machine\n",
    ],
)
def test_two_pins_under_overlapping_markers_contradict_each_other(text: str) -> None:
    """Two pins that some environment would have to satisfy together are refused with both places."""
    (problem,) = problems(text)

    assert "user.txt:2: a" in problem
    assert "user.txt:1" in problem


def test_too_many_lines_about_one_package_are_refused() -> None:
    """A file that would need a quadratic comparison is refused, not compared."""
    text = "".join(f"a==1;python_version=='3.{minor}'\n" for minor in range(5000))

    assert "more than" in problems(text)[0]


def refusals(text: str) -> list[str]:
    """Return what is wrong with ``text``; anything but a refusal is a failure."""
    try:
        parse_layer("user", text, "user.txt")
    except ConstraintError as error:
        return [str(problem) for problem in error.problems] or ["none named"]
    return []


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser fail in another way than by a refusal that names a line."""
    assert all(refusal.startswith("user.txt:") for refusal in refusals(text))


PIECES = [
    *("numpy", "==", "1.0", ";", "python_version", "'3.9'", " in ", "(", ")", " and ", " or ", "not ", "\\\n", "#"),
    *(" @ ", "https://me:pw@", "git+", "--hash=x", "-r", "[x]", ",", "<", "~=", "===", "1!2.*", "\n", " "),
]


@given(st.lists(st.sampled_from(PIECES), max_size=20))
def test_any_mixture_of_pieces_is_read_or_refused(pieces: list[str]) -> None:
    """Near misses of the grammar are refused too, and no password is repeated."""
    found = refusals("".join(pieces))

    assert not any("//me:pw@" in refusal for refusal in found)
