"""Merging constraint layers: per environment the first layer that names a package wins."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from bundler.errors import ConstraintError
from bundler.model.constraints import Effective, applies, merge, parse_layer
from bundler.model.target import known_target

DATA = Path(__file__).parent / "data"
PINS = "osa-global-requirement-pins-33.0.1-2026.1.txt"
UPPER = "upper-constraints-2026.1.txt"


def merged(*texts: str) -> Effective:
    return merge([parse_layer(f"l{place}", text, f"{place}.txt") for place, text in enumerate(texts)])


def requirements(effective: Effective) -> list[str]:
    return [entry.requirement for entry in effective.entries]


def real() -> Effective:
    files = {"pins": PINS, "upper": UPPER}
    return merge([parse_layer(name, (DATA / file).read_text(), file) for name, file in files.items()])


def test_the_rest_of_a_lower_layer_stays() -> None:
    """A pin that holds for some Pythons leaves the lower layer's pin to the others."""
    effective = merged("numpy==2.3.5;python_version>='3.11'", "NumPy===2.2.6")

    assert requirements(effective) == [
        'numpy==2.3.5 ; python_version >= "3.11"',
        'numpy===2.2.6 ; python_version < "3.11"',
    ]
    (lost,) = effective.shadowed
    assert (lost.winner_where, lost.loser, lost.loser_where) == ("l0 0.txt:1", "numpy===2.2.6", "l1 1.txt:1")


def test_the_text_names_the_place_of_each_line() -> None:
    """The effective file says for each line from which layer, file and line it comes."""
    text = merged("# mine\nb==1", "a==2").text

    assert text.splitlines()[1:] == ["a==2  # l1 1.txt:1", "b==1  # l0 0.txt:2"]


def test_a_layer_that_covers_everything_leaves_nothing() -> None:
    """Two pins that cover all Pythons together push the lower layer's line out altogether."""
    effective = merged("a==1;python_version<'3.12'\na==2;python_version>='3.12'", "a==3")

    assert len(effective.entries) == 2
    assert [lost.winner for lost in effective.shadowed] == [
        'a==1 ; python_version < "3.12"',
        'a==2 ; python_version >= "3.12"',
    ]


def test_a_line_that_agrees_is_not_reported() -> None:
    """`==X` over `===X` of the same version is no loss."""
    assert merged("a==1.0", "a===1").shadowed == ()


def test_a_bare_name_frees_a_package() -> None:
    """A higher layer may lift a constraint by naming the package alone."""
    assert requirements(merged("a", "a==1\nb==1")) == ["a", "b==1"]


def test_only_the_layer_that_really_won_is_named() -> None:
    """A middle layer that lost everywhere itself is not reported as a winner."""
    effective = merged("a==1", "a==2", "a==3")

    assert [(lost.winner, lost.loser) for lost in effective.shadowed] == [("a==1", "a==2"), ("a==1", "a==3")]


def test_markers_that_cannot_be_compared_are_refused() -> None:
    """Markers that name a great many values are refused with a place, not compared for minutes."""
    many = " or ".join(f"platform_machine=='m{number}'" for number in range(150))

    with pytest.raises(ConstraintError) as caught:
        merged(f"a==1;{many}", "a==2")
    assert caught.value.problems[0].where == "0.txt:1"


def test_the_real_layers_settle_numpy_and_django() -> None:
    """The pins of OpenStack-Ansible 33.0.1 win over the 2026.1 file where they contradict it, and both are named."""
    effective = real()

    lost = {shadow.name: shadow for shadow in effective.shadowed}
    assert set(lost) == {"numpy", "django"}
    assert lost["numpy"].winner == 'numpy==2.3.5 ; python_version >= "3.11"'
    assert lost["numpy"].winner_where == f"pins {PINS}:15"
    assert lost["numpy"].loser_where == f"upper {UPPER}:377"
    assert lost["django"].winner == 'django==5.2.8 ; python_version >= "3.13"'


@pytest.mark.parametrize(
    ("target", "numpy", "django"),
    [
        ("ubuntu-22.04-x86_64", "==2.2.6", "==4.2.28"),
        ("debian-12-x86_64", "==2.3.5", "==4.2.28"),
        ("debian-13-aarch64", "==2.3.5", "==5.2.8"),
    ],
)
def test_the_real_layers_say_one_thing_per_target(target: str, numpy: str, django: str) -> None:
    """For a target, exactly one constraint of each package holds."""
    found = real().effective_for(known_target(target).markers)

    assert [entry.constraint for entry in found["numpy"]] == [numpy]
    assert [entry.constraint for entry in found["django"]] == [django]
    assert all(len(entries) == 1 for entries in found.values())


SYSTEMS = [
    {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"},
    {"sys_platform": "darwin", "os_name": "posix", "platform_system": "Darwin"},
    {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows"},
]
ENVIRONMENTS = [
    {
        **system,
        "platform_machine": machine,
        "python_version": f"3.{minor}",
        "python_full_version": f"3.{minor}.{patch}",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for system, machine, minor, patch in itertools.product(
        SYSTEMS, ("x86_64", "aarch64", "armv7l"), range(9, 16), (0, 3, 17)
    )
]
VALUES = {
    "python_version": ["'3.9'", "'3.11'", "'3.12'", "'3.13'"],
    "python_full_version": ["'3.11.3'", "'3.12.0'", "'3.12.17'"],
    "sys_platform": ["'linux'", "'win32'"],
    "os_name": ["'posix'", "'nt'"],
    "platform_machine": ["'x86_64'", "'aarch64'", "'x86_64 aarch64'"],
}
ORDERED = ["<", "<=", "==", "!=", ">=", ">", "~="]


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    variable = draw(st.sampled_from(sorted(VALUES)))
    value = draw(st.sampled_from(VALUES[variable]))
    operators = ORDERED if variable.startswith("python") else ["==", "!=", "in", "not in"]
    operator = draw(st.sampled_from(operators))
    if operator in ("==", "<") and draw(st.booleans()):
        return f"{value} {operator} {variable}"
    if operator in ("in", "not in") and draw(st.booleans()):
        return f"'arm' {operator} {variable}"
    return f"{variable} {operator} {value}"


MARKERS = st.recursive(
    comparisons(),
    lambda inner: st.builds(
        lambda parts, word: "(" + f" {word} ".join(parts) + ")",
        st.lists(inner, min_size=2, max_size=3),
        st.sampled_from(["and", "or"]),
    ),
    max_leaves=5,
)
#: In one layer: a chain of lines whose markers exclude each other, so that the layer does not contradict itself.
LINES = st.tuples(st.one_of(st.just(""), MARKERS), st.integers(min_value=1, max_value=3))


@settings(deadline=None, max_examples=150)
@given(st.lists(LINES, min_size=1, max_size=4))
def test_in_every_environment_the_first_layer_that_names_a_package_wins(written: list[tuple[str, int]]) -> None:
    """For any markers and every environment: the effective constraint is that of the first layer that applies."""
    layers = [
        parse_layer(f"l{place}", f"a==1.{version}" + (f" ; {marker}" if marker else ""), f"{place}.txt")
        for place, (marker, version) in enumerate(written)
    ]
    effective = merge(layers)

    for environment in ENVIRONMENTS:
        expected = next(
            ([entry.constraint] for layer in layers for entry in layer.entries if applies(entry, environment)), []
        )
        held = effective.effective_for(environment).get("a", ())
        assert [entry.constraint for entry in held] == expected
    for line in effective.text.splitlines()[1:]:
        Requirement(line.partition("  #")[0])
