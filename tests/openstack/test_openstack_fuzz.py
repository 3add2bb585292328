"""Whatever the documents hold, reading them ends in values or problems."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.model.openstack_deliverables import TYPES, read_deliverable
from bundler.model.openstack_release import Release
from bundler.model.openstack_roles import known_roles
from bundler.model.openstack_source_git import SourceGit

KEYS = ("type", "team", "releases", "branches", "version", "projects", "repo", "hash", "name", "repository-settings")
PINS = tuple(f"{key}_git_{part}" for key in ("nova", "x") for part in ("repo", "install_branch", "track_branch"))
TEXTS = st.sampled_from(
    (
        "",
        "1.0",
        "stable/2026.1",
        "openstack/nova",
        "a" * 40,
        "{{ a }}",
        "{{ b }}",
        "https://u:p@x/y",
        "/",
        "x y",
        *TYPES,
    )
)


def documents(keys: tuple[str, ...]) -> st.SearchStrategy[Any]:
    leaves = st.one_of(TEXTS, st.none(), st.integers(), st.booleans())
    return st.recursive(
        leaves,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(keys), below, max_size=6),
        max_leaves=20,
    )


@settings(max_examples=80, deadline=None)
@given(documents(KEYS))
def test_deliverables_are_read_or_refused(document: Any) -> None:
    """Every problem has a place; what is read becomes part of a release."""
    found, problems = read_deliverable(yaml.safe_dump(document).encode(), "d/x.yaml")

    assert (found is None) == bool(problems)
    assert all(problem.where.startswith("d/x.yaml") for problem in problems)
    if found is not None:
        release = Release(roles=known_roles())
        release.add_deliverables([found])
        assert len(release.services) <= len(found.projects)


@settings(max_examples=80, deadline=None)
@given(documents((*PINS, "a", "b")))
def test_git_sources_are_read_or_refused(document: Any) -> None:
    """Variables that refer to each other end; no pin is without address and commit."""
    reader = SourceGit(variables={})

    reader.read([("nova_all/source_git.yml", yaml.safe_dump(document).encode())])

    assert all(problem.where.startswith("nova_all/source_git.yml") for problem in reader.problems)
    assert all(pin.url and pin.revision and "{{" not in pin.url for pin in reader.pins)
    assert not any("u:p@" in str(problem) for problem in reader.problems)
