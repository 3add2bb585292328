"""Whatever is changed on the medium, verify.sh and our own verifier both refuse, with the same number."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import BundlerError
from bundler.workflows.verify import VerifyRequest, verify

VOLUME = "debian-12-x86_64-001.tar.zst"
SIGNATURE = "SHA256SUMS.alice.sig"
#: The verify.sh of the source tree, as a site does that has its own copy.
SCRIPT = Path(__file__).parents[2] / "bundler" / "bundle" / "data" / "verify.sh"


def stock(bundle: Path, allowed: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run verify.sh under dash."""
    argv = ["dash", str(SCRIPT), *options, str(allowed), str(bundle)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)


def ours(bundle: Path, allowed: Path, **options: Any) -> BundlerError | None:
    try:
        verify(VerifyRequest(bundle=bundle, allowed_signers=allowed, **options))
    except BundlerError as error:
        return error
    return None


def edit(path: Path, change: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def flip(path: Path, position: int) -> None:
    def change(data: bytearray) -> None:
        data[position] ^= 0x01

    edit(path, change)


def replace_by(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def flip_and_relist(bundle: Path, name: str, position: int) -> None:
    """Change a file and make the list fit it, as an attacker without a key would."""
    flip(bundle / name, position)
    done = subprocess.run(["sha256sum", name], cwd=bundle, capture_output=True, text=True, check=True)
    lines = (bundle / "SHA256SUMS").read_text().splitlines(keepends=True)
    (bundle / "SHA256SUMS").write_text(
        "".join(done.stdout if line.endswith(f"  {name}\n") else line for line in lines)
    )


def move_and_link(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


TAMPERING: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "a bit of a volume": (lambda b: flip(b / VOLUME, 5000), 61, VOLUME),
    "the first bit of a volume": (lambda b: flip(b / VOLUME, 0), 61, VOLUME),
    "a volume cut off": (lambda b: os.truncate(b / VOLUME, 4000), 61, "cut off"),
    "an empty volume": (lambda b: os.truncate(b / VOLUME, 0), 61, "cut off"),
    "a volume with more at its end": (lambda b: edit(b / VOLUME, lambda d: d.extend(b"x")), 61, "too long"),
    "a volume missing": (lambda b: (b / VOLUME).unlink(), 64, VOLUME),
    "two volumes swapped": (
        lambda b: shutil.copy(b / "ubuntu-24.04-x86_64-001.tar.zst", b / VOLUME), 61, VOLUME,
    ),
    "bundle.json": (lambda b: flip(b / "bundle.json", 20), 61, "bundle.json"),
    "bundle.json missing": (lambda b: (b / "bundle.json").unlink(), 64, "bundle.json"),
    "bundle.json cut off": (lambda b: os.truncate(b / "bundle.json", 100), 61, "bundle.json"),
    "bundle.json with a list that fits": (
        lambda b: flip_and_relist(b, "bundle.json", 20), 70, "does not fit",
    ),
    "a volume with a list that fits": (lambda b: flip_and_relist(b, VOLUME, 9), 70, "does not fit"),
    "a digest in the list": (lambda b: flip(b / "SHA256SUMS", 0), 70, "does not fit"),
    "a name in the list": (lambda b: flip(b / "SHA256SUMS", 70), 70, "does not fit"),
    "a line of the list missing": (
        lambda b: edit(b / "SHA256SUMS", lambda d: d.__delitem__(slice(0, d.index(b"\n") + 1))), 70, "does not fit",
    ),
    "the list empty": (lambda b: os.truncate(b / "SHA256SUMS", 0), 70, "does not fit"),
    "the list missing": (lambda b: (b / "SHA256SUMS").unlink(), 64, "SHA256SUMS"),
    "the list too large": (lambda b: os.truncate(b / "SHA256SUMS", (1 << 20) + 1), 60, "larger"),
    "the list a link": (lambda b: replace_by(b / "SHA256SUMS", lambda p: p.symlink_to("bundle.json")), 66, "link"),
    "the list a pipe": (lambda b: replace_by(b / "SHA256SUMS", os.mkfifo), 66, "pipe"),
    "the signature": (lambda b: flip(b / SIGNATURE, 200), 70, SIGNATURE),
    "the signature cut off": (lambda b: os.truncate(b / SIGNATURE, 100), 70, "no SSH signature"),
    "the signature empty": (lambda b: os.truncate(b / SIGNATURE, 0), 70, "no SSH signature"),
    "a signature with more at its end": (lambda b: edit(b / SIGNATURE, lambda d: d.extend(b"x")), 70, "bytes around"),
    "a signature with a NUL": (lambda b: edit(b / SIGNATURE, lambda d: d.extend(b"\0")), 70, "bytes around"),
    "a signature without its last newline": (lambda b: edit(b / SIGNATURE, lambda d: d.pop()), 70, "bytes around"),
    "a signature with a carriage return": (lambda b: edit(b / SIGNATURE, lambda d: d.insert(70, 13)), 70, "around"),
    "the signature missing": (lambda b: (b / SIGNATURE).unlink(), 70, "no signature"),
    "the signature a pipe": (lambda b: replace_by(b / SIGNATURE, os.mkfifo), 66, "pipe"),
    "the signature a link": (lambda b: replace_by(b / SIGNATURE, lambda p: p.symlink_to("bundle.json")), 66, "link"),
    "the signature too large": (lambda b: os.truncate(b / SIGNATURE, 9000), 60, "larger"),
    "too many signatures": (
        lambda b: [shutil.copy(b / SIGNATURE, b / f"SHA256SUMS.s{n}.sig") for n in range(32)], 60, "32",
    ),
    "the installer": (lambda b: flip(b / "bundle-install", 30), 61, "bundle-install"),
    "verify.sh": (lambda b: flip(b / "verify.sh", 30), 61, "verify.sh"),
    "the evidence": (lambda b: flip(b / "evidence.tar.zst", 30), 61, "evidence"),
    "a table": (lambda b: flip(b / "assemble-debian-12-x86_64.tsv", 30), 61, "assemble"),
    "a table missing": (lambda b: (b / "files-debian-12-x86_64.sha256").unlink(), 64, "files-debian"),
    "an extra file": (lambda b: (b / "evil.whl").write_bytes(b"x"), 65, "evil.whl"),
    "an extra hidden file": (lambda b: (b / ".pth").write_bytes(b"x"), 65, ".pth"),
    "an extra file with a strange name": (lambda b: (b / "a\nb\x1b[31m").write_bytes(b"x"), 65, "not listed"),
    "an extra directory": (lambda b: (b / "more").mkdir(), 65, "more"),
    "an extra pipe": (lambda b: os.mkfifo(b / "pipe"), 65, "pipe"),
    "a dangling extra link": (lambda b: (b / "link").symlink_to("nowhere"), 65, "link"),
    "a signature of nobody's name": (
        lambda b: shutil.copy(b / SIGNATURE, b / "SHA256SUMS.Bob Mallory.sig"), 65, "Mallory",
    ),
    "a volume that is a link to itself elsewhere": (
        lambda b: move_and_link(b / VOLUME),
        66, "symbolic link",
    ),
    "a volume that is a pipe": (lambda b: replace_by(b / VOLUME, os.mkfifo), 66, "pipe"),
    "a volume that is a directory": (lambda b: replace_by(b / VOLUME, Path.mkdir), 66, "directory"),
    "a volume that is a device": (lambda b: replace_by(b / VOLUME, lambda p: p.symlink_to("/dev/zero")), 66, "link"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_refused_by_both(bundle: Path, keys: Any, what: str) -> None:
    """Each class of change is refused by both, with the same number; ours names the file or the reason."""
    change, status, words = TAMPERING[what]
    change(bundle)

    error = ours(bundle, keys.allowed)
    done = stock(bundle, keys.allowed)

    assert error is not None
    assert (error.exit_code, done.returncode) == (status, status), (error, done.stderr)
    assert words in error.message
    assert "\n" not in error.message
    assert "\x1b" not in done.stderr


def test_the_untouched_bundle_is_accepted_by_both(bundle: Path, keys: Any) -> None:
    """An untouched bundle passes, shallow and deep, and verify.sh names the signer."""
    assert ours(bundle, keys.allowed) is None
    assert ours(bundle, keys.allowed, deep=True) is None
    done = stock(bundle, keys.allowed)
    assert done.returncode == 0, done.stderr
    assert "signed by alice (single signer)" in done.stdout


@pytest.mark.parametrize("shell", ["bash --posix", "busybox sh", "ksh", "mksh", "zsh --emulate sh"])
def test_any_posix_shell_runs_verify_sh(bundle: Path, keys: Any, shell: str) -> None:
    """The verdict does not depend on which shell is sh, nor on GNU's coreutils where busybox has its own."""
    argv = shell.split()
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    path = os.environ["PATH"]
    if argv[0] == "busybox":
        path = str(_only_busybox(bundle.parent / "bin"))
    keys.sign(bundle, "bob")

    def judge(threshold: str) -> int:
        command = [
            str(shutil.which(argv[0])),
            *argv[1:],
            str(SCRIPT),
            "-n",
            threshold,
            str(keys.allowed),
            str(bundle),
        ]
        return subprocess.run(command, env={"PATH": path}, capture_output=True, timeout=20, check=False).returncode

    assert (judge("2"), judge("3")) == (0, 70)
    edit(bundle / "SHA256SUMS.bob.sig", lambda data: data.extend(b"\0"))
    assert (judge("1"), judge("2")) == (0, 70)
    flip(bundle / VOLUME, 5000)
    assert judge("1") == 61
    (bundle / "evil").touch()
    assert judge("1") == 65


def _only_busybox(directory: Path) -> Path:
    directory.mkdir()
    for name in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        (directory / name).symlink_to(str(shutil.which("busybox")))
    (directory / "ssh-keygen").unlink(missing_ok=True)
    (directory / "ssh-keygen").symlink_to(str(shutil.which("ssh-keygen")))
    return directory


def test_a_socket_is_refused_by_both(
    bundle: Path, keys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket in the place of a file is refused without connecting to it."""
    monkeypatch.chdir(bundle)
    (bundle / VOLUME).unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(VOLUME)

        error = ours(bundle, keys.allowed)

    assert error is not None
    assert error.exit_code == 66
    assert stock(bundle, keys.allowed).returncode == 66


def test_a_volume_of_another_bundle_is_refused_by_both(
    bundle: Path, keys: Any, make_bundle: Any, sampler: Any
) -> None:
    """A volume swapped in from another well-signed bundle is refused."""
    other = make_bundle("other", sampler(2))
    keys.sign(other, "alice")
    shutil.copy(other / VOLUME, bundle / VOLUME)

    error = ours(bundle, keys.allowed)

    assert error is not None
    assert error.exit_code == 61
    assert stock(bundle, keys.allowed).returncode == 61


def test_a_list_of_another_bundle_is_refused_by_both(bundle: Path, keys: Any, make_bundle: Any, sampler: Any) -> None:
    """List and signature of another bundle do not make this one trusted."""
    other = make_bundle("other", sampler(2))
    keys.sign(other, "alice")
    for name in ("SHA256SUMS", SIGNATURE):
        shutil.copy(other / name, bundle / name)

    error = ours(bundle, keys.allowed)

    assert error is not None
    assert error.exit_code == 61
    assert stock(bundle, keys.allowed).returncode == 61


def _quorum_cases() -> Iterator[tuple[str, list[tuple[str, str, str]], int, int]]:
    # what, (key, file's signer, namespace) of each signature, threshold, status
    good = "bundle@offline"
    yield "two signers", [("alice", "", good), ("bob", "", good)], 2, 0
    yield "a stranger beside a signer", [("alice", "", good), ("mallory", "", good)], 1, 0
    yield "a stranger", [("mallory", "", good)], 1, 70
    yield "a stranger under a signer's file name", [("mallory", "alice", good)], 1, 70
    yield "another namespace", [("alice", "", "receipt@offline")], 1, 70
    yield "git's namespace", [("alice", "", "git")], 1, 70
    yield "one signer twice under two names", [("alice", "", good), ("alice", "bob", good)], 2, 70
    yield "one signer twice with two keys", [("alice", "", good), ("alice-2", "", good)], 2, 70
    yield "one signer of two", [("alice", "", good), ("mallory", "bob", good)], 2, 70


@pytest.mark.parametrize(
    ("signatures", "threshold", "status"),
    [pytest.param(*case[1:], id=case[0]) for case in _quorum_cases()],
)
def test_only_distinct_trusted_signers_count(
    make_bundle: Any, keys: Any, signatures: list[tuple[str, str, str]], threshold: int, status: int
) -> None:
    """The quorum counts principals, found by key, in our namespace; both verifiers agree on it."""
    bundle = make_bundle()
    for key, name, namespace in signatures:
        keys.sign(bundle, key, as_name=name, namespace=namespace)

    error = ours(bundle, keys.allowed, threshold=threshold)
    done = stock(bundle, keys.allowed, "-n", str(threshold))

    assert (error.exit_code if error else 0) == status
    assert done.returncode == status, done.stderr


def test_a_revoked_key_does_not_count(bundle: Path, keys: Any, tmp_path: Path) -> None:
    """A signature by a revoked key is refused by both; other keys of the list go on counting."""
    revoked = tmp_path / "revoked"
    revoked.write_bytes(b"# lost\n" + keys.key("alice.pub").read_bytes() + keys.key("mallory.pub").read_bytes())

    error = ours(bundle, keys.allowed, revoked=revoked)

    assert error is not None
    assert error.exit_code == 70
    assert "revoked" in error.message
    assert stock(bundle, keys.allowed, "-r", str(revoked)).returncode == 70
    keys.sign(bundle, "bob")
    assert ours(bundle, keys.allowed, revoked=revoked) is None
    assert stock(bundle, keys.allowed, "-r", str(revoked)).returncode == 0


def test_nobody_is_trusted_by_default(bundle: Path, keys: Any, tmp_path: Path) -> None:
    """An empty or missing list of signers is an error, not an empty policy."""
    empty = tmp_path / "empty"
    empty.write_bytes(b"# nobody\n")

    assert ours(bundle, empty) is not None
    assert stock(bundle, empty).returncode == 70
    assert ours(bundle, tmp_path / "none") is not None
    assert stock(bundle, tmp_path / "none").returncode == 2


@pytest.mark.parametrize("threshold", ["0", "-1", "x", "", "1 2", "1000"])
def test_a_senseless_threshold_is_refused(bundle: Path, keys: Any, threshold: str) -> None:
    """verify.sh takes no threshold below one, nor text."""
    assert stock(bundle, keys.allowed, "-n", threshold).returncode == 2


def test_a_threshold_that_nobody_can_reach_is_refused(bundle: Path, keys: Any) -> None:
    """More signers than are trusted is a mistake in the policy."""
    error = ours(bundle, keys.allowed, threshold=3)

    assert error is not None
    assert error.exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SHA256SUMS", SIGNATURE, "bundle.json", VOLUME])
def test_every_byte_counts(bundle: Path, keys: Any, name: str) -> None:
    """A flipped bit anywhere, sampled over the whole file, is refused by us."""
    size = (bundle / name).stat().st_size
    original = (bundle / name).read_bytes()
    for position in range(0, size, max(1, size // 40)):
        flip(bundle / name, position)
        assert ours(bundle, keys.allowed) is not None, position
        (bundle / name).write_bytes(original)
