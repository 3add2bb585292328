"""A conflict in the words of the manifest."""

from __future__ import annotations

from typing import Any

import pytest

from bundler.errors import Problem, ResolutionFailed
from bundler.model.constraints import Effective, merge, parse_layer
from bundler.model.target import Target
from bundler.resolve.explain import Asked, explain
from bundler.resolve.port import CONSTRAINT, REQUESTED, ResolveRequest
from bundler.resolve.uv import UvResolver
from bundler.resolve.uv_messages import read_conflict


@pytest.fixture
def layers() -> Effective:
    return merge(
        [
            parse_layer("pins", "lib==1.0\n", "pins.txt"),
            parse_layer("upper", "# all\nlib===2.0\nother==1\n", "upper.txt"),
        ]
    )


def test_chains_and_layers_are_named(index: Any, bookworm: Target, layers: Effective) -> None:
    """A real failure of uv names the venv, the way to the requirement, the layer with its line, and what it beat."""
    index.wheel("app", "1.0", ["middle"])
    index.wheel("middle", "1.0", ["lib>=2"])
    index.wheel("lib", "1.0")
    index.wheel("lib", "2.0")
    request = ResolveRequest(
        requirements=("app",), targets=(bookworm,), constraints=layers.text, indexes=index.config()
    )
    with pytest.raises(ResolutionFailed) as caught:
        UvResolver().resolve(request)

    error = explain(caught.value, [Asked(venv="web", text="app")], layers, "web")

    text = "\n".join(map(str, error.problems))
    assert "venv web: wants lib>=2 through app" in text
    assert "middle" in text
    assert "constraint layer pins pins.txt:1: says lib==1.0" in text
    assert "upper upper.txt:2: says lib===2.0, which lost to pins pins.txt:1" in text
    assert "other" not in text


def test_direct_requirements_of_two_venvs_are_told_apart() -> None:
    """Two venvs that ask for different versions are each named with what they want."""
    error = ResolutionFailed(
        "no", problems=[Problem(where=REQUESTED, what="a==1"), Problem(where=REQUESTED, what="a==2")]
    )

    found = explain(error, [Asked(venv="one", text="a==1"), Asked(venv="two", text="a==2")], None, "one, two")

    assert [str(problem) for problem in found.problems] == ["venv one: wants a==1", "venv two: wants a==2"]


def test_a_list_of_requirements_holds_no_constraint() -> None:
    """What a venv asks for in the same words is its requirement, though uv names it like a constraint."""
    error = ResolutionFailed(
        "no",
        problems=[Problem(where=REQUESTED, what="a==1"), Problem(where=CONSTRAINT, what="b")],
    )

    found = explain(error, [Asked(venv="one", text="a==1"), Asked(venv="two", text="b")], None, "one, two")

    assert [str(problem) for problem in found.problems] == ["venv one: wants a==1", "venv two: wants b"]


def test_a_constraint_that_no_layer_states_stays(layers: Effective) -> None:
    """A constraint of the tool's own is shown as it is."""
    error = ResolutionFailed("no", problems=[Problem(where=CONSTRAINT, what="strange==1")])

    found = explain(error, [], layers, "web")

    assert [str(problem) for problem in found.problems] == ["constraint: strange==1"]


def test_many_versions_that_want_the_same_are_one_line(layers: Effective) -> None:
    """A tool that tried every version of a package does not fill the screen with them."""
    tried = [Problem(where=f"sdk=={number}.0", what="lib>=7") for number in range(90)]

    found = explain(ResolutionFailed("no", problems=tried), [], layers, "web")

    assert str(found.problems[0]) == "sdk (90 versions): wants lib>=7"
    assert len(found.problems) < 5


def test_circular_chains_end(layers: Effective) -> None:
    """Packages that want each other do not keep the explanation from ending."""
    error = ResolutionFailed("no", problems=[Problem(where="a==1", what="b>=1"), Problem(where="b==1", what="a>=1")])

    assert explain(error, [], layers, "web").problems == ()


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        (
            "Because bundle-requirements depends on lib<2 and lib==2.0, we can conclude that it cannot be.",
            [(REQUESTED, "lib<2"), (CONSTRAINT, "lib==2.0")],
        ),
        (
            """Because there is no version of lib==7 and all versions of app depend on lib==7, we can conclude that
            all versions of app cannot be used.
            And because bundle-requirements depends on app, we can conclude that it cannot be.""",
            [("app", "lib==7"), (REQUESTED, "app"), ("", "there is no version lib==7")],
        ),
        (
            "Because nothere was not found in the package registry and bundle-requirements depends on nothere, we …",
            [(REQUESTED, "nothere"), ("", "nothere is in no index")],
        ),
        (
            """Because sdk>=0.28 depends on one of:
                 patch>=1.16,<1.20
                 patch>1.20
             and patch<1, we can conclude that sdk>=0.28 cannot be used.""",
            [("sdk>=0.28", "patch>=1.16,<1.20 or patch>1.20"), (CONSTRAINT, "patch<1")],
        ),
        ("something new that says nothing we know", []),
    ],
)
def test_messages_of_uv_become_edges(text: str, edges: list[tuple[str, str]]) -> None:
    """Known sentences are read; unknown ones are left to the message itself."""
    assert [(edge.where, edge.what) for edge in read_conflict(text)] == edges
