"""verify.sh --tree, -N and -p: a tree against signed tables, and containers of another namespace."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.bundle.documents import verify_script
from tests.bundles import DEBIAN, UBUNTU, Keys, Sample, make_sample

WHEEL = f"os-releases/2026.1/{DEBIAN}/wheels/pure-1.0+local-py3-none-any.whl"
CACHED = "constraints/upper_constraints_cached.txt"


@pytest.fixture(params=["dash", "bash"])
def verify(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    script = tmp_path / "verify.sh"
    script.write_bytes(verify_script())

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        argv = [request.param, str(script), *map(str, args)]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return lay(make_sample(), tmp_path / "the tree $x", DEBIAN)


def lay(sample: Sample, tree: Path, *targets: str) -> Path:
    for file in sample.files:
        if set(targets) & set(file.targets):
            path = tree / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(sample.blobs[one] for one in file.blobs))
            path.chmod(0o644)
    for link in sample.links:
        (tree / link.path).symlink_to(link.to)
    return tree


def test_a_tree_as_signed_is_accepted(verify: Callable[..., object], tree: Path, bundle: Path, keys: Keys) -> None:
    """One target's tree passes for that target and not for both."""
    one = verify("--tree", tree, "-t", DEBIAN, keys.allowed, bundle)
    both = verify("--tree", tree, "-t", DEBIAN, "-t", UBUNTU, keys.allowed, bundle)
    lay(make_sample(), tree.parent / "both", DEBIAN, UBUNTU)
    two = verify("--tree", tree.parent / "both", "-t", DEBIAN, "-t", UBUNTU, keys.allowed, bundle)

    assert [getattr(done, "returncode", None) for done in (one, both, two)] == [0, 64, 0]


def replaced_by_a_link(tree: Path) -> None:
    (tree / WHEEL).rename(tree.parent / "moved")
    (tree / WHEEL).symlink_to(tree.parent / "moved")


def relinked(tree: Path) -> None:
    (tree / CACHED).unlink()
    (tree / CACHED).symlink_to("/etc/passwd")


def odd_folder(tree: Path) -> None:
    (tree / "..more").mkdir()
    (tree / "..more" / "x").touch()


def unlinked(tree: Path) -> None:
    (tree / CACHED).unlink()
    (tree / CACHED).write_text("six==1.17\n")


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        (lambda tree: (tree / WHEEL).unlink(), 64, "is missing"),
        (lambda tree: (tree / WHEEL).write_bytes(b"x"), 61, "not what was signed"),
        (lambda tree: (tree / WHEEL).chmod(0o755), 61, "another mode was signed"),
        (lambda tree: (tree / "constraints" / ".hidden file").touch(), 65, "not in the signed tables"),
        (odd_folder, 65, "not in the signed tables"),
        (replaced_by_a_link, 66, "is not a regular file"),
        (relinked, 61, "leads elsewhere"),
        (unlinked, 66, "is no link"),
    ],
)
def test_any_difference_is_refused(
    verify: Callable[..., subprocess.CompletedProcess[str]],
    tree: Path,
    bundle: Path,
    keys: Keys,
    *,
    change: Callable[[Path], object],
    status: int,
    said: str,
) -> None:
    """Every kind of difference has its number."""
    change(tree)

    done = verify("--tree", tree, "-t", DEBIAN, keys.allowed, bundle)

    assert (done.returncode, said in done.stderr) == (status, True)


def test_the_tables_must_be_there(
    verify: Callable[..., subprocess.CompletedProcess[str]], tree: Path, bundle: Path, keys: Keys
) -> None:
    """Of the bundle only tables need be there, but these must."""
    for path in bundle.iterdir():
        if not path.name.startswith(("SHA256SUMS", "release.txt", "files-", "assemble-", "blobs-")):
            path.unlink()

    few = verify("--tree", tree, "-t", DEBIAN, keys.allowed, bundle)
    (bundle / f"assemble-{DEBIAN}.tsv").unlink()
    fewer = verify("--tree", tree, "-t", DEBIAN, keys.allowed, bundle)
    part = verify("-p", keys.allowed, bundle)
    whole = verify(keys.allowed, bundle)

    assert [done.returncode for done in (few, fewer, part, whole)] == [0, 64, 0, 64]


@pytest.mark.parametrize("options", [["--tree", "/"], ["-t", "../x", "--tree", "/"], ["--tree"], ["--what"]])
def test_wrong_options_are_refused(
    verify: Callable[..., subprocess.CompletedProcess[str]], bundle: Path, keys: Keys, options: list[str]
) -> None:
    """A tree needs targets with names of targets."""
    assert verify(*options, keys.allowed, bundle).returncode == 2


def test_a_namespace_is_not_another(
    verify: Callable[..., subprocess.CompletedProcess[str]], bundle: Path, keys: Keys, tmp_path: Path
) -> None:
    """What was signed as a bundle is no trust document, and the other way round; no revoked keys is a fine list."""
    allowed = tmp_path / "allowed"
    allowed.write_text(keys.allowed.read_text().replace("bundle@offline", "trust@offline"))
    signed = shutil.copytree(bundle, tmp_path / "as-trust")
    keys.sign(signed, "alice", namespace="trust@offline")
    (tmp_path / "revoked").touch()

    assert verify("-N", "trust@offline", "-r", tmp_path / "revoked", allowed, signed).returncode == 0
    assert verify("-N", "trust@offline", allowed, bundle).returncode == 70
    assert verify(keys.allowed, signed).returncode == 70
