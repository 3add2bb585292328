"""`bundle-build constraints publish`, and layers that must be signed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import ConstraintError, ManifestError, PolicyRefused, SignatureRefused, UsageError
from bundler.events import ignore
from bundler.model.constraint_lines import normal_version
from bundler.model.constraints import merge, parse_layer
from bundler.model.contents import Contents, PackageEntry, ProofEntry, TargetEntry, VenvEntry
from bundler.model.published import publish
from bundler.model.target import known_target
from bundler.signing.documents import NAMESPACE
from bundler.signing.sshkeygen import public_key
from bundler.store.cas import Store
from bundler.workflows.constraints import ConstraintGroup, show_constraints
from bundler.workflows.publish_constraints import PublishReport, PublishRequest, publish_constraints
from bundler.workflows.verify import VerifyRequest
from tests.bundles import BundleMaker, Keys, make_sample

OLD, NEW, ARM = "debian-12-x86_64", "debian-13-x86_64", "debian-12-aarch64"
PYTHONS = {OLD: "3.11.2", NEW: "3.13.5", ARM: "3.11.2"}
DIGEST = "d" * 64


def venv(name: str, target: str, /, **versions: str) -> VenvEntry:
    packages = tuple(
        PackageEntry(name=package, version=version, wheel="", wheel_sha256="", layers=(), kind="wheel")
        for package, version in versions.items()
    )
    return VenvEntry(
        name=name,
        target=target,
        python=PYTHONS[target],
        install_path=f"/opt/{name}",
        archive="",
        packages=packages,
        console_scripts=(),
        proof=ProofEntry(level="target", passed=True, checks=7),
    )


def contents(*venvs: VenvEntry) -> Contents:
    targets = tuple(
        TargetEntry(
            name=name, distro="debian", version="12", arch=name.rpartition("-")[2], python=python, glibc="2.36"
        )
        for name, python in PYTHONS.items()
    )
    return Contents(
        name="demo",
        version="1",
        sequence=5,
        floor=0,
        created=0,
        tool="x",
        targets=targets,
        files=(),
        links=(),
        volumes=(),
        venvs=venvs,
    )


def lines_of(*venvs: VenvEntry) -> list[str]:
    """Return the lines that say something, after every published text was read as a constraint layer."""
    found = publish(contents(*venvs), DIGEST, venvs)
    assert not found.problems
    parse_layer("tested", found.text, "tested.txt")
    return [line for line in found.text.splitlines() if not line.startswith("#")]


def test_versions_that_are_the_same_everywhere_have_no_marker() -> None:
    """One line for each package, with the venvs that were tested with it."""
    found = lines_of(venv("nova", OLD, six="1.17"), venv("nova", NEW, six="1.17"), venv("heat", OLD, six="1.17"))

    assert found == ["six==1.17  # heat, nova"]


def test_a_package_of_some_targets_says_which() -> None:
    """It constrains the others too, but was not tested there."""
    found = lines_of(venv("nova", OLD, six="1.17", x="1"), venv("nova", NEW, six="1.17"))

    assert found == ["six==1.17  # nova", f"x==1  # nova on {OLD}"]


def test_targets_that_differ_have_markers() -> None:
    """By Python, and by machine where two targets have the same Python."""
    found = lines_of(venv("n", OLD, np="1"), venv("n", NEW, np="2"), venv("n", ARM, np="3"))

    assert found == [
        f'np==1 ; python_version == "3.11" and platform_machine == "x86_64"  # n on {OLD}',
        f'np==2 ; python_version == "3.13"  # n on {NEW}',
        f'np==3 ; python_version == "3.11" and platform_machine == "aarch64"  # n on {ARM}',
    ]


def test_two_versions_for_one_system_do_not_fit() -> None:
    """Venvs that were resolved apart: the package, both venvs and both versions are named."""
    both = (venv("nova", OLD, six="1.17"), venv("heat", OLD, six="1.16"))

    (problem,) = publish(contents(*both), DIGEST, both).problems

    assert str(problem) == f"six: is 1.16 in heat on {OLD}, but 1.17 in nova on {OLD}"


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(("nova", "heat")), st.sampled_from(tuple(PYTHONS))),
        st.dictionaries(st.sampled_from(("six", "np")), st.sampled_from(("1", "2.0", "3+local")), min_size=1),
        min_size=1,
    )
)
def test_the_file_gives_back_what_was_tested(held: dict[tuple[str, str], dict[str, str]]) -> None:
    """Read as a layer for the markers of each target, it says the very versions; else it was refused."""
    venvs = [venv(name, target, **versions) for (name, target), versions in held.items()]
    found = publish(contents(*venvs), DIGEST, venvs)
    clash = any(
        held[one].get(name, version) != version
        for (_, target), versions in held.items()
        for name, version in versions.items()
        for one in held
        if one[1] == target
    )

    assert bool(found.problems) == clash
    if not clash:
        effective = merge([parse_layer("tested", found.text, "tested.txt")])
        for (_, target), versions in held.items():
            said = effective.effective_for(known_target(target).markers)
            assert {name: said[name][0].pin for name in versions} == {
                name: normal_version(version) for name, version in versions.items()
            }


def test_the_file_says_where_it_comes_from() -> None:
    """Bundle, digest, and each venv with target, Python and proof."""
    one = venv("nova", OLD, six="1.17")

    text = publish(contents(one), DIGEST, [one]).text

    assert text.splitlines()[:4] == [
        "# Tested versions of demo 1.",
        "# bundle: demo-1-5",
        f"# SHA256SUMS: {DIGEST}",
        f"# venv: nova on {OLD}, Python 3.11.2, proved in the target's system: 7 checks",
    ]


def published(bundle: Path, keys: Keys, output: Path, **changes: Any) -> PublishReport:
    policy = VerifyRequest(bundle=bundle, allowed_signers=keys.allowed)
    values: dict[str, Any] = {"verify": policy, "key": keys.key("bob"), "signer": "bob", "output": output, **changes}
    return publish_constraints(PublishRequest(**values))


def test_a_bundle_is_published_and_stock_tools_accept_it(signed_bundle: Path, keys: Keys, tmp_path: Path) -> None:
    """The file names the bundle's packages; ssh-keygen verifies its signature."""
    report = published(signed_bundle, keys, tmp_path / "tested.txt")
    (tmp_path / "trusted").write_text(report.allowed_signers_line + "\n")

    options = ["-f", str(tmp_path / "trusted"), "-I", "bob", "-n", NAMESPACE, "-s", str(report.signature)]
    done = subprocess.run(["ssh-keygen", "-Y", "verify", *options], input=report.path.read_bytes(), check=False)

    assert done.returncode == 0
    assert "pure==1.0  # keystone\n" in report.path.read_text()
    assert (report.packages, report.venvs) == (1, ("keystone",))


def test_only_a_verified_bundle_is_published(signed_bundle: Path, keys: Keys, tmp_path: Path) -> None:
    """A bundle that nobody trusted has signed is refused before anything is written."""
    trusted = tmp_path / "trusted"
    trusted.write_text(f'bob namespaces="bundle@offline" {public_key(keys.key("bob"))}\n')

    with pytest.raises(SignatureRefused):
        published(
            signed_bundle,
            keys,
            tmp_path / "t.txt",
            verify=VerifyRequest(bundle=signed_bundle, allowed_signers=trusted),
        )
    assert not (tmp_path / "t.txt").exists()


def test_what_was_not_proved_is_not_tested(make_bundle: BundleMaker, keys: Keys, tmp_path: Path) -> None:
    """It is refused with the venvs' names, or published with the remark."""
    proof = ProofEntry(level="none", passed=False, checks=0, unproved_allowed=True)
    bundle = make_bundle(sample=make_sample(proof=proof))
    keys.sign(bundle, "alice")

    with pytest.raises(PolicyRefused, match="keystone on debian-12-x86_64"):
        published(bundle, keys, tmp_path / "t.txt")
    report = published(bundle, keys, tmp_path / "t.txt", allow_unproved=True)

    assert "Python 3.11.2, not proved" in report.path.read_text()


@pytest.mark.parametrize("changes", [{"signer": "Bob B"}, {"key": Path("absent")}, {"venvs": ("nova",)}])
def test_wrong_options_write_nothing(
    signed_bundle: Path, keys: Keys, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """An impossible signer, a key that is not there, a venv that the bundle has not."""
    with pytest.raises(UsageError):
        published(signed_bundle, keys, tmp_path / "t.txt", **changes)
    assert not list(tmp_path.glob("t.txt*"))


def test_a_published_file_is_replaced_only_by_force(signed_bundle: Path, keys: Keys, tmp_path: Path) -> None:
    """The file is the same then: it has no time in it."""
    first = published(signed_bundle, keys, tmp_path / "t.txt").path.read_bytes()

    with pytest.raises(UsageError, match="there already"):
        published(signed_bundle, keys, tmp_path / "t.txt")
    assert published(signed_bundle, keys, tmp_path / "t.txt", force=True).path.read_bytes() == first


MANIFEST = """\
schema: 1
release: {{name: r, version: "1"}}
targets: [debian-12-x86_64]
constraints:
  - {{name: tested, {origin}, signers: trusted}}
venvs:
  one: {{path: /opt/one, packages: [pure]}}
"""


@pytest.fixture
def manifest(signed_bundle: Path, keys: Keys, tmp_path: Path) -> Path:
    """A manifest with a layer that bob published and whose signer it names."""
    report = published(signed_bundle, keys, tmp_path / "tested.txt")
    (tmp_path / "trusted").write_text(report.allowed_signers_line + "\n")
    path = tmp_path / "m.yaml"
    path.write_text(MANIFEST.format(origin="file: tested.txt"))
    return path


def shown(manifest: Path) -> tuple[ConstraintGroup, ...]:
    return show_constraints(manifest, Store(manifest.parent / "store"), ignore)


def test_a_signed_layer_counts(manifest: Path) -> None:
    """The layer is read like any other once its signature is good, from an address too."""
    (from_file,) = shown(manifest)
    manifest.write_text(MANIFEST.format(origin=f'url: "{(manifest.parent / "tested.txt").as_uri()}"'))
    (from_address,) = shown(manifest)

    assert [entry.requirement for entry in from_file.effective.entries] == ["pure==1.0"]
    assert [entry.requirement for entry in from_address.effective.entries] == ["pure==1.0"]


def _changed(place: Path, keys: Keys) -> None:
    (place / "tested.txt").write_text("pure==2.0\n")


def _lost(place: Path, keys: Keys) -> None:
    (place / "tested.txt.sig").unlink()


def _stranger(place: Path, keys: Keys) -> None:
    line = f'alice namespaces="{NAMESPACE}" {public_key(keys.key("alice"))}\n'
    (place / "trusted").write_text(line)


def _other_duty(place: Path, keys: Keys) -> None:
    (place / "trusted").write_bytes(keys.allowed.read_bytes())


def _nobody(place: Path, keys: Keys) -> None:
    (place / "trusted").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_changed, "tested.txt is not signed as asked"),
        (_lost, "its signature cannot be had"),
        (_stranger, "is not trusted"),
        (_other_duty, "nobody is trusted for constraints@offline"),
        (_nobody, "cannot read its signers, trusted"),
    ],
)
def test_a_layer_with_a_wrong_signature_is_refused(manifest: Path, keys: Keys, change: Any, said: str) -> None:
    """One problem that names the layer: changed content, no signature, a stranger's, one for another purpose."""
    change(manifest.parent, keys)

    with pytest.raises(ConstraintError) as caught:
        shown(manifest)

    (problem,) = caught.value.problems
    assert problem.where == "constraint layer tested"
    assert said in problem.what
    assert "cannot be had: tested.txt" not in problem.what


def test_a_signature_in_git_is_taken_from_the_same_commit(manifest: Path) -> None:
    """The layer's branch may move between two reads; its commit does not."""
    place = manifest.parent
    git = ["git", "-C", str(place), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "tested.txt", "tested.txt.sig"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    origin = f'git: {{url: "{place.as_uri()}", revision: main, path: tested.txt}}'
    manifest.write_text(MANIFEST.format(origin=origin))

    (group,) = shown(manifest)

    assert group.records[0].location.endswith(":tested.txt")


def test_lines_of_the_manifest_cannot_be_signed(manifest: Path) -> None:
    """They are part of the manifest: naming signers for them promises what nobody checks."""
    manifest.write_text(MANIFEST.format(origin="lines: [pure==1.0]"))

    with pytest.raises(ManifestError) as caught:
        shown(manifest)

    assert "constraints[0].signers: lines that stand here have no signature" in str(caught.value.problems[0])
