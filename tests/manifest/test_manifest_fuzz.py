"""Whatever is fed to the loader, it is a manifest or a ManifestError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import ManifestError
from bundler.model.manifest_fields import all_models, fields_of
from bundler.model.manifest_load import LoadedManifest, load_manifest
from bundler.model.manifest_sample import sample
from bundler.model.plan import plan_venvs
from bundler.model.target import known_target

KEYS = sorted({facts.key for model in all_models() for facts in fields_of(model)})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "auto",
            "debian-12-x86_64",
            "1",
            "x==1",
            "git+https://h/x@1#egg=x",
            "/v/a",
            "https://h:x@y/",
            "(",
            "'",
            "add",
        ]
    )
)
TREES = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), below, max_size=4)
    ),
    max_leaves=12,
)


def outcome(data: bytes) -> LoadedManifest | ManifestError:
    """Load ``data``; an include reads the same again."""
    try:
        return load_manifest(Path("m.yaml"), lambda _path: data)
    except ManifestError as error:
        return error


def attempt(data: bytes) -> None:
    """Expect a manifest that has a plan, or problems."""
    found = outcome(data)
    if isinstance(found, ManifestError):
        assert all(problem.what for problem in found.problems)
        assert found.problems
    else:
        plan_venvs(found.manifest, [known_target("debian-12-x86_64")])


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    """Arbitrary bytes never give a traceback."""
    attempt(data)


@given(st.text(alphabet="[]{}:,-?&*!|>'\"%@`#~<= \n\tab1", max_size=60))
def test_any_yaml_signs(text: str) -> None:
    """Arbitrary sequences of YAML's own signs never give a traceback."""
    attempt(text.encode())


@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=6))
def test_any_tree(tree: dict[str, Any]) -> None:
    """Arbitrary trees of known and unknown keys never give a traceback."""
    attempt(json.dumps(tree).encode())


@given(st.sampled_from(KEYS), TREES)
def test_a_valid_venv_with_one_wrong_field(key: str, value: Any) -> None:
    """One arbitrary field in an otherwise valid manifest never gives a traceback."""
    venv = {"path": "/v/a", "packages": ["x"], key: value}
    attempt(json.dumps({"schema": 1, "release": {"name": "r", "version": "1"}, "venvs": {"a": venv}}).encode())


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_sample(data: st.DataObject) -> None:
    """The sample with an arbitrary stretch cut out, or other text put in, never gives a traceback."""
    text = sample().replace("#", "")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 200)))
    attempt((text[:start] + data.draw(st.text(max_size=5)) + text[end:]).encode())
