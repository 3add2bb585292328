"""The files that OpenStack-Ansible's role writes, byte for byte, and what the manifest says of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundler.buildenv.host_target import host_target
from bundler.errors import FetchFailed, ManifestError
from bundler.model.lock import GitSource, LayerRecord, Lock, LockedPackage, VenvLock
from bundler.model.manifest_load import LoadedManifest
from bundler.model.openstack_ansible import constraint_lines, must_be_named, named_item, requirements_lines, role_file
from bundler.model.plan import plan_venvs
from bundler.workflows.lock_inputs import read_inputs
from bundler.workflows.manifest import open_manifest
from bundler.workflows.role_files import plan_role_files, role_entries
from tests.repotree.conftest import HERE, ROOT, Bench

COMMIT, SCSS = "a" * 40, "https://git.example/Kronuz/pyScss"
PINS = "# comment\npip==26.0.1\n\nnumpy==2.3.5;python_version>='3.11'\n"


class Desk:
    """A manifest of one venv, locked by hand, and what the roles find of it."""

    def __init__(self, root: Path, bench: Bench) -> None:
        self.root, self.bench = root, bench
        self.upper, self.location = "", "manifest"

    def loaded(self, venv: dict[str, Any], **more: Any) -> LoadedManifest:
        document = {
            "schema": 1,
            "release": {"name": "test", "version": "1"},
            "venvs": {"horizon": {"path": "/openstack/venvs/horizon-33.0.1", **venv}},
            **more,
        }
        (self.root / "release.yaml").write_text(yaml.safe_dump(document))
        return open_manifest(self.root / "release.yaml", print)

    def lock(self) -> Lock:
        found = [self.bench.wheel(name, "1.0")[1] for name in ("PyMySQL", "pip")]
        git = GitSource(url=SCSS, commit=COMMIT, requested_revision=COMMIT)
        source = LockedPackage(name="pyscss", version="1.4", kind="git", origin=git)
        packages = tuple(replace(one, name=one.name.lower()) for one in found)
        return Lock(
            name="test",
            version="1",
            sequence=1,
            created=1,
            inputs="",
            resolver="uv 1",
            targets=(HERE,),
            venvs=(VenvLock(venv="horizon", target=HERE, packages=(*packages, source)),),
            layers=(LayerRecord(name="upper", location=self.location, sha256="0" * 64),),
            upper=self.upper,
        )

    def files(self, venv: dict[str, Any], **more: Any) -> dict[str, bytes]:
        loaded, lock = self.loaded(venv, **more), self.lock()
        plan = plan_role_files(loaded, lock, plan_venvs(loaded.manifest, [host_target()]))
        wheels = self.bench.set(HERE, self.bench.wheel("PyMySQL", "1.0"), venv="horizon")
        entries, links = role_entries(plan, [wheels], lock, ROOT, self.bench.store)
        found = {entry.path.rpartition("/")[2]: self.bench.store.path(entry.sha256).read_bytes() for entry in entries}
        return found | {link.path.rpartition("/")[2]: f"-> {link.to}".encode() for link in links}


@pytest.fixture
def desk(tmp_path: Path, bench: Bench) -> Desk:
    (tmp_path / "pins.txt").write_text(PINS)
    return Desk(tmp_path, bench)


@pytest.mark.parametrize(
    ("branch", "head"), [("", b""), ("2023.1", b""), ("2025.2", b""), ("2026.1", b"#"), ("master", b"#")]
)
def test_newer_roles_begin_with_a_header(branch: str, head: bytes) -> None:
    """Each line has its end, empty ones are dropped; from 2026.1 on the first line says who manages the file."""
    header = b"# Managed with python_venv_build role\n" if head else b""

    assert role_file(["b", "", "a==1"], branch) == header + b"b\na==1\n"
    assert role_file([], branch) == header


def test_requirements_are_sorted_without_regard_to_case() -> None:
    """As Jinja's sort does it: case does not count, equal ones keep their order, each is there once."""
    assert requirements_lines(["pymemcache", "PyMySQL", "git+https://x#egg=y", "oslo.cache[dogpile]", "PyMySQL"]) == [
        "git+https://x#egg=y",
        "oslo.cache[dogpile]",
        "pymemcache",
        "PyMySQL",
    ]


def test_constraints_follow_from_names_of_wheels() -> None:
    """Underscores of names stay, those of versions become .post, local versions are kept, all in lower case."""
    names = [
        "oslo.utils-10.0.1-py3-none-any.whl",
        "Torch_X-2.1.0+CPU-cp311-cp311-linux_x86_64.whl",
        "a-1.2_3-py3-x.whl",
    ]

    assert constraint_lines(names) == ["a==1.2.post3", "oslo.utils==10.0.1", "torch_x==2.1.0+cpu"]


@pytest.mark.parametrize(
    ("item", "named"),
    [
        ("git+https://x/y@1#egg=y", ""),
        ("PyMySQL==1", ""),
        ("y @ https://x/y-1-py3-none-any.whl", ""),
        ("git+https://x/y@1", "git+https://x/y@1#egg=y"),
        ("y @ git+https://x/y@1", "git+https://x/y@1#egg=y"),
        ("y@git+https://x/y@1#subdirectory=z", "git+https://x/y@1#subdirectory=z&egg=y"),
        ("git+https://x/y@1#egg=y&subdirectory=z", "git+https://x/y@1#subdirectory=z&egg=y"),
    ],
)
def test_git_items_that_the_role_spoils_are_named(item: str, named: str) -> None:
    """The role takes what follows the last egg= for the name, and everything else as it is."""
    assert must_be_named(item) is bool(named)
    assert (named_item(item, "y") if named else "") == named


def test_a_venv_without_a_section_has_its_own_packages(desk: Desk) -> None:
    """Packages as they are written, without those that every venv gets; constraints of all that is locked."""
    assert desk.files({"packages": ["PyMySQL", "abc>=1"]}) == {
        "horizon-33.0.1-requirements.txt": b"abc>=1\nPyMySQL\n",
        "horizon-33.0.1-global-constraints.txt": b"",
        "horizon-33.0.1-source-constraints.txt": b"",
        "horizon-33.0.1-constraints.txt": b"pip==1.0\npymysql==1.0\npyscss==1.4\n",
    }


def test_the_section_gives_every_file_its_lines(desk: Desk) -> None:
    """Pins lose their comments, a venv's own constraints win, nameless git items get the name that was locked."""
    head, pins = b"# Managed with python_venv_build role\n", b"pip==26.0.1\nnumpy==2.3.5;python_version>='3.11'\n"
    section = {
        "branch": "2026.1",
        "global_constraints": "pins.txt",
        "source_constraints": ["--constraint http://x/y"],
    }
    own = {"requirements": [f"git+{SCSS}@{COMMIT}", "PyMySQL"]}

    found = desk.files({"packages": ["PyMySQL"], "openstack_ansible": own}, openstack_ansible=section)

    assert found["horizon-33.0.1-requirements.txt"] == head + f"git+{SCSS}@{COMMIT}#egg=pyscss\nPyMySQL\n".encode()
    assert found["horizon-33.0.1-global-constraints.txt"] == head + pins
    assert found["horizon-33.0.1-source-constraints.txt"] == head + b"--constraint http://x/y\n"
    assert found["horizon-33.0.1-constraints.txt"] == head + b"pip==1.0\npymysql==1.0\npyscss==1.4\n"


def test_git_items_that_nothing_names_are_refused_together(desk: Desk) -> None:
    """All items whose name nobody knows are named, with what to write."""
    own = {"requirements": ["git+https://git.example/one", "git+https://git.example/two@1"]}

    with pytest.raises(ManifestError) as caught:
        desk.files({"packages": ["PyMySQL"], "openstack_ansible": own})

    assert [problem.what.split()[0] for problem in caught.value.problems] == own["requirements"]
    assert "#egg=" in caught.value.hint


@pytest.mark.parametrize(
    ("section", "location", "identifier"),
    [
        ({}, "manifest", hashlib.sha256(b"a===1\n").hexdigest()[:12]),
        ({}, f"https://git.example/requirements@{COMMIT}:upper-constraints.txt", COMMIT),
        ({"id": "2026.1"}, "manifest", "2026.1"),
    ],
)
def test_upper_constraints_are_called_as_the_roles_ask(
    desk: Desk, section: dict[str, str], location: str, identifier: str
) -> None:
    """The name holds the id of the manifest, else the commit of the layer, else a digest; the link leads there."""
    desk.upper, desk.location = "a===1\n", location

    found = desk.files({"packages": ["PyMySQL"]}, openstack_ansible={"upper_constraints": section})

    assert found[f"upper_constraints_{identifier}.txt"] == b"a===1\n"
    assert found["upper_constraints_cached.txt"] == f"-> upper_constraints_{identifier}.txt".encode()


def test_what_the_roles_get_numbers_a_lock_anew(desk: Desk) -> None:
    """A changed file of pins changes what a bundle shows, and nothing that decides about versions."""

    def inputs() -> tuple[str, str]:
        loaded = desk.loaded({"packages": ["PyMySQL"]}, openstack_ansible={"global_constraints": "pins.txt"})
        found = read_inputs(loaded, plan_venvs(loaded.manifest, [host_target()]), "uv", desk.bench.store)
        return found.content, found.digest

    before = inputs()
    (desk.root / "pins.txt").write_text("pip==26.1\n")
    after = inputs()
    (desk.root / "pins.txt").unlink()

    assert before[0] != after[0]
    assert before[1] == after[1]
    with pytest.raises(FetchFailed, match="missing"):
        inputs()


def test_credentials_in_lines_of_a_role_are_refused(desk: Desk) -> None:
    """What every host may read holds no password, and the message does not repeat it."""
    lines = ["--constraint https://me:s3cret@repo.example/x"]

    with pytest.raises(ManifestError) as caught:
        desk.loaded({"packages": ["a"]}, openstack_ansible={"source_constraints": lines})

    assert "credentials" in caught.value.problems[0].what
    assert "s3cret" not in str(caught.value.problems)
