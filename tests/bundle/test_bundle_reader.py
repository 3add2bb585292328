"""Reading bundles from directories and tars: files straight from volumes, verified before they are handed out."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bundler.archive.tar import TarEntry, header
from bundler.bundle.medium import open_medium
from bundler.bundle.reader import Bundle, open_bundle
from bundler.bundle.verification import Verification
from bundler.errors import BundlerError, FileIrregular, FormatError, IntegrityError, UsageError
from bundler.workflows.verify import VerifyRequest, verify


def tar_of(bundle: Path, *options: str) -> Path:
    path = bundle.with_suffix(".tar")
    subprocess.run(["tar", *options, "-cf", path, "-C", bundle.parent, bundle.name], check=True)
    return path


@pytest.mark.parametrize("form", ["directory", "tar"])
def test_every_file_is_read_straight_from_its_volumes(bundle: Path, sample: Any, form: str) -> None:
    """Files of one blob and of many come out whole, from several threads, from a directory or a tar of it."""
    path = bundle if form == "directory" else tar_of(bundle)

    def read(opened: Bundle, name: str) -> bytes:
        return b"".join(opened.stream_file(name))

    with open_bundle(path) as opened, ThreadPoolExecutor(4) as pool:
        tasks = {file.path: pool.submit(read, opened, file.path) for file in sample.files}

        for file in sample.files:
            assert tasks[file.path].result() == b"".join(sample.blobs[digest] for digest in file.blobs)


def test_a_damaged_blob_hands_out_nothing(bundle: Path) -> None:
    """Not one byte of a blob leaves before its digest was found right."""
    with open_bundle(bundle) as opened:
        file = next(file for file in opened.contents.files if file.path.endswith("linux_x86_64.whl"))
        volume, blob = opened.place(file.blobs[0])
        data = bytearray((bundle / volume.name).read_bytes())
        data[blob.offset + blob.length // 2] ^= 1
        (bundle / volume.name).write_bytes(data)

        pieces = opened.stream_file(file.path)

        with pytest.raises(IntegrityError, match=blob.sha256):
            next(pieces)


def test_what_is_not_there_is_said(bundle: Path) -> None:
    """An unknown path is a mistake of the user; a path without its directory gets a hint."""
    with open_bundle(bundle) as opened:
        with pytest.raises(UsageError) as caught:
            opened.file("pylock.keystone.toml")
        assert "os-releases/2026.1/debian-12-x86_64/locks/pylock.keystone.toml" in caught.value.hint
        with pytest.raises(UsageError):
            opened.place("0" * 64)


def test_the_evidence_is_read_back(bundle: Path) -> None:
    """The evidence archive's members come back, and a damaged one is refused."""
    with open_bundle(bundle) as opened:
        assert opened.evidence() == {"locks/lock.json": b"{}\n", "proof/keystone.json": b'{"passed": true}\n'}
        (bundle / "evidence.tar.zst").write_bytes(b"x")
        with pytest.raises(IntegrityError):
            opened.evidence()


@pytest.mark.parametrize(
    "options",
    [(), ("--format=v7",), ("--format=oldgnu",), ("--format=ustar",), ("--format=posix", "--pax-option=delete=size")],
)
def test_a_tar_of_a_bundle_is_verified_like_its_directory(bundle: Path, keys: Any, options: tuple[str, ...]) -> None:
    """GNU tar's formats are all accepted, and every byte is checked."""
    path = tar_of(bundle, *options)
    request = VerifyRequest(bundle=path, allowed_signers=keys.allowed, deep=True)

    assert verify(request).quorum.signers == ("alice",)
    data = bytearray(path.read_bytes())
    data[data.index(b"print('hello')")] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        verify(request)


@pytest.mark.parametrize("what", ["cut", "link", "twice", "deep", "compressed"])
def test_a_strange_tar_is_refused(bundle: Path, keys: Any, what: str, tmp_path: Path) -> None:
    """A tar that is cut off, has links, a member twice, a tree, or is compressed is no bundle."""
    if what == "link":
        (bundle / "README.txt").unlink()
        (bundle / "README.txt").symlink_to("verify.sh")
    if what == "deep":
        (bundle / "more").mkdir()
        (bundle / "more" / "x").write_bytes(b"")
    path = tar_of(bundle, *(["--zstd"] if what == "compressed" else []))
    if what == "cut":
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
    if what == "twice":
        subprocess.run(["tar", "-rf", path, "-C", bundle.parent, f"{bundle.name}/README.txt"], check=True)

    with pytest.raises(BundlerError) as caught:
        verify(VerifyRequest(bundle=path, allowed_signers=keys.allowed))

    assert caught.value.exit_code in (60, 61, 66)
    if what == "compressed":
        assert str(path) in caught.value.message
        assert "uncompressed" in caught.value.hint


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """A device or a missing path is a mistake of the user, not something to wait for."""
    for path in (tmp_path / "none", Path("/dev/null")):
        with pytest.raises(UsageError), open_medium(path):
            pass


def test_a_directory_with_too_many_files_is_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are counted while they are read."""
    monkeypatch.setattr("bundler.bundle.medium.MAX_FILES", 3)
    for name in "abcd":
        (tmp_path / name).touch()
    with open_medium(tmp_path) as medium, pytest.raises(FormatError):
        medium.names()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Opening a pipe through a medium is refused at once."""
    os.mkfifo(tmp_path / "pipe")
    with open_medium(tmp_path) as medium, pytest.raises(FileIrregular):
        medium.open("pipe")


def test_steps_out_of_order_are_programming_errors(bundle: Path) -> None:
    """The state machine refuses to go on without what comes before, with an error that is not the bundle's."""
    machine = Verification()
    with pytest.raises(RuntimeError):
        machine.take_contents(b"{}")
    with pytest.raises(RuntimeError):
        machine.take_names([])
    machine.take_unsigned((bundle / "SHA256SUMS").read_bytes())
    with pytest.raises(RuntimeError):
        machine.take_unsigned((bundle / "SHA256SUMS").read_bytes())
    machine.take_contents((bundle / "bundle.json").read_bytes())
    with pytest.raises(RuntimeError):
        _ = machine.missing
    machine.take_names(entry.name for entry in bundle.iterdir())
    with pytest.raises(RuntimeError, match="has not been checked"):
        machine.verified()
    with pytest.raises(RuntimeError):
        machine.check("nothing")


def test_the_deep_check_finds_what_a_signer_did_not_see(make_bundle: Any, keys: Any, sampler: Any) -> None:
    """A well-signed bundle whose archive is not what its blobs give is refused."""
    bad = sampler()
    archive = next(file for file in bad.files if len(file.blobs) > 1)
    bad.files[bad.files.index(archive)] = dataclasses.replace(archive, sha256="0" * 64)
    path = make_bundle("bundle", bad)
    keys.sign(path, "alice")

    verify(VerifyRequest(bundle=path, allowed_signers=keys.allowed))

    with pytest.raises(IntegrityError, match="concatenation"):
        verify(VerifyRequest(bundle=path, allowed_signers=keys.allowed, deep=True))


def test_the_deep_check_finds_members_that_are_not_listed(
    make_bundle: Any, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A well-signed volume that stock tar would unpack to something else than bundle.json says is refused."""
    evil = header(TarEntry(path="os-releases", kind="link", target="/etc"))
    monkeypatch.setattr(
        "bundler.bundle.volumes.header", lambda entry: evil if entry.kind == "link" else header(entry)
    )
    path = make_bundle()
    keys.sign(path, "alice")

    with pytest.raises(FormatError, match="unpacks to 'os-releases', which is not listed"):
        verify(VerifyRequest(bundle=path, allowed_signers=keys.allowed, deep=True))


def test_the_deep_check_misses_no_link(make_bundle: Any, keys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A well-signed volume in which stock tar finds no file at its path is refused."""
    monkeypatch.setattr("bundler.bundle.volumes.header", lambda entry: b"" if entry.kind == "link" else header(entry))
    path = make_bundle()
    keys.sign(path, "alice")

    with pytest.raises(FormatError, match="do not unpack to the link 'constraints"):
        verify(VerifyRequest(bundle=path, allowed_signers=keys.allowed, deep=True))


@pytest.mark.parametrize(("end", "why"), [(b"", "cut off"), (bytes(512), "cut off"), (bytes(9999) + b"!", "follow")])
def test_the_deep_check_reads_to_the_end_of_a_volume(
    make_bundle: Any, keys: Any, monkeypatch: pytest.MonkeyPatch, end: bytes, why: str
) -> None:
    """A well-signed volume without its end mark, or with bytes after it, is refused."""
    monkeypatch.setattr("bundler.bundle.volumes.END", end)
    path = make_bundle()
    keys.sign(path, "alice")

    with pytest.raises(IntegrityError, match=why):
        verify(VerifyRequest(bundle=path, allowed_signers=keys.allowed, deep=True))
