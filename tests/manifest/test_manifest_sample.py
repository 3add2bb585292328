"""What is generated from the models: sample, schema, reference page; and the manifests that the project gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.model.manifest_fields import all_models, fields_of
from bundler.model.manifest_load import LoadedManifest, load_manifest
from bundler.model.manifest_sample import reference, sample, schema
from bundler.model.plan import plan_venvs
from bundler.model.target import known_target
from bundler.model.target_names import DISTROS

ROOT = Path(__file__).resolve().parents[2]
Load = Callable[..., LoadedManifest]


def test_the_sample_passes_the_check(load: Load) -> None:
    """What `manifest sample` prints is a manifest, without warnings."""
    found = load(sample())

    assert found.warnings == ()
    assert found.manifest.targets == ("auto",)


def test_the_sample_passes_with_every_optional_field(load: Load) -> None:
    """Without the signs before optional fields the sample is a manifest too, and every field is in it."""
    text = re.sub(r"^( *)#(?! )", r"\1", sample(), flags=re.MULTILINE)

    found = load(text, **{"shared/constraints": "resolver: uv"})

    assert found.manifest.venvs["keystone"].enable == ("ldap",)
    assert len(found.manifest.constraints) == 4
    assert found.manifest.build.packages["lxml"].config_settings == {"--build-option": ["--quiet"]}


def test_every_field_is_explained() -> None:
    """Each field of each model has a title, which sample and reference page show."""
    page = reference()
    for model in all_models():
        for facts in fields_of(model):
            assert facts.title, f"{model.__name__}.{facts.key}"
            assert f"| `{facts.key}` |" in page


def test_the_reference_page_is_up_to_date() -> None:
    """docs/reference/manifest.md is what scripts/reference writes."""
    assert (ROOT / "docs" / "reference" / "manifest.md").read_text("utf-8") == reference()


def test_the_schema_is_json_schema_of_the_manifest() -> None:
    """The schema is JSON, names the fields as they are written, and forbids others."""
    found = json.loads(json.dumps(schema()))

    assert found["required"] == ["schema", "release", "venvs"]
    assert "schema_" not in found["properties"]
    assert found["$defs"]["Venv"]["additionalProperties"] is False


@pytest.mark.parametrize("name", ["quickstart", "openstack-bench"])
def test_given_manifests_have_a_plan_on_every_target(name: str) -> None:
    """The project's own manifests pass the check, and each venv has smoke commands and layers."""
    loaded = load_manifest(ROOT / "manifests" / f"{name}.yaml", Path.read_bytes)
    plans = plan_venvs(loaded.manifest, [known_target(f"{system}-x86_64") for system in DISTROS])

    assert loaded.warnings == ()
    assert len(plans) == len(loaded.manifest.venvs) * len(DISTROS)
    for plan in plans:
        assert plan.smoke
        assert [layer.name for layer in plan.layers][-1] == "upper"
    for layer in loaded.manifest.constraints:
        assert layer.file is None or (loaded.root / layer.file).is_file()
