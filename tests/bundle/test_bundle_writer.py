"""Writing bundles: bytes that depend on nothing but the plan, all or nothing, and tables that POSIX sh can use."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.reader import open_bundle
from bundler.bundle.writer import write_bundle
from bundler.errors import ContentsRefused, FormatError, IntegrityError
from bundler.events import StageAdvanced, StageStarted, ignore
from bundler.model.contents import Contents


def listing(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mode & 0o777, path.read_bytes()) for path in directory.iterdir()}


def test_bytes_do_not_depend_on_surroundings(
    make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another umask, locale, time zone, directory and number of processors give the same bytes and modes."""
    first = listing(make_bundle("one"))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    old = os.umask(0o077)
    try:
        second = listing(make_bundle("elsewhere/two"))
    finally:
        os.umask(old)

    assert first == second
    assert {name for name, (mode, _) in first.items() if mode == 0o755} == {"bundle-install", "verify.sh"}
    assert {mode for mode, _ in first.values()} == {0o644, 0o755}


def test_the_order_in_the_plan_does_not_matter(make_bundle: Any, sampler: Any) -> None:
    """Files, venvs and evidence in another order give the same bytes."""
    turned = sampler()
    turned.files.reverse()
    turned.venvs.reverse()
    evidence = [("b", b"2"), ("a", b"1")]

    assert listing(make_bundle("one", evidence=evidence)) == listing(
        make_bundle("two", turned, evidence=evidence[::-1])
    )


def test_a_bundle_has_exactly_the_documented_files(make_bundle: Any) -> None:
    """The flat directory has the names of the format, and SHA256SUMS lists all but itself."""
    path = make_bundle()

    names = sorted(entry.name for entry in path.iterdir())
    listed = [line.split("  ")[1] for line in (path / "SHA256SUMS").read_text().splitlines()]

    assert [name for name in names if name != "SHA256SUMS"] == listed
    assert {"README.txt", "bundle-install", "bundle.json", "evidence.tar.zst", "verify.sh"} < set(names)
    assert {f"files-{t}.sha256" for t in ("debian-12-x86_64", "ubuntu-24.04-x86_64")} < set(names)


def test_a_plan_that_misses_a_blob_writes_nothing(sample: Any, installer: Path, tmp_path: Path) -> None:
    """The closed set is checked first: a missing blob and a wrong size are both reported, no directory appears."""
    plan = sample.plan(installer)
    sizes = dict(plan.blob_sizes)
    gone = sample.files[-1].blobs[0]
    del sizes[gone]
    sizes[sample.files[0].blobs[0]] += 1

    with pytest.raises(ContentsRefused) as caught:
        write_bundle(sample.plan(installer, blob_sizes=sizes), sample.open, tmp_path / "out", ignore)

    text = "\n".join(str(problem) for problem in caught.value.problems)
    assert gone in text
    assert sample.files[0].path in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"version": "../x"}, FormatError),
        ({"targets": ()}, ContentsRefused),
        ({"evidence": [("../x", b"")]}, FormatError),
    ],
)
def test_a_senseless_plan_leaves_the_old_bundle(
    make_bundle: Any, changes: dict[str, object], error: type[Exception]
) -> None:
    """What a reader would refuse is not written, and what was there stays."""
    before = listing(make_bundle())

    with pytest.raises(error):
        make_bundle(**changes)

    path = make_bundle()
    assert listing(path) == before
    assert [entry.name for entry in path.parent.iterdir()] == ["bundle"]


def test_a_damaged_store_leaves_the_old_bundle(make_bundle: Any, sampler: Any) -> None:
    """A blob with other bytes than its digest says stops the writing without a trace."""
    path = make_bundle()
    before = listing(path)
    bad = sampler()
    digest = bad.files[-1].blobs[0]
    bad.blobs[digest] = bytes(len(bad.blobs[digest]))

    with pytest.raises(IntegrityError, match=digest):
        make_bundle("bundle", bad)

    assert listing(path) == before


def test_signatures_survive_a_rebuild_of_the_same_bytes(make_bundle: Any, keys: Any, sampler: Any) -> None:
    """Writing the same list again keeps its signatures; another list drops them."""
    path = make_bundle()
    keys.sign(path, "alice")
    signed = listing(path)

    make_bundle()
    assert listing(path) == signed
    make_bundle("bundle", sampler(2))
    assert "SHA256SUMS.alice.sig" not in listing(path)


def test_the_last_step_happens_before_the_name(sample: Any, installer: Path, tmp_path: Path) -> None:
    """What ``finish`` does is part of the bundle when it appears; if it fails, nothing appears."""
    out = tmp_path / "out"

    def sign(directory: Path) -> None:
        assert not out.exists()
        (directory / "SHA256SUMS.x.sig").write_text("x")

    write_bundle(sample.plan(installer), sample.open, out, ignore, sign)
    assert (out / "SHA256SUMS.x.sig").exists()

    with pytest.raises(ZeroDivisionError):
        write_bundle(sample.plan(installer, sequence=2), sample.open, tmp_path / "next", ignore, lambda _: 1 // 0)  # type: ignore[arg-type]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_progress_adds_up(sample: Any, installer: Path, tmp_path: Path) -> None:
    """The bytes announced are the bytes reported."""
    events: list[Any] = []

    write_bundle(sample.plan(installer), sample.open, tmp_path / "out", events.append)

    total = next(event.total for event in events if isinstance(event, StageStarted))
    assert total == sum(event.amount for event in events if isinstance(event, StageAdvanced))


def test_volumes_keep_to_the_limit(make_bundle: Any) -> None:
    """No volume is larger than asked for, and everything is still there."""
    path = make_bundle(volume_size=33_000)

    assert max(entry.stat().st_size for entry in path.glob("*.tar.zst")) <= 33_000
    assert len(list(path.glob("common-*.tar.zst"))) == 2
    with open_bundle(path) as bundle:
        for file in bundle.contents.files:
            assert sum(len(piece) for piece in bundle.stream_file(file.path)) == file.size


def _snippet(readme: str, first: str) -> str:
    """Return the indented block of README.txt that begins with the line ``first``."""
    lines = readme.splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip().startswith(first))
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("  "))
    return textwrap.dedent("\n".join(lines[start:end]))


def test_a_bare_host_assembles_every_file_as_the_readme_says(make_bundle: Any, tmp_path: Path, sample: Any) -> None:
    """README's commands, run by dash with coreutils on blobs and tables alone, give the repo host's tree."""
    path = make_bundle()
    readme = (path / "README.txt").read_text("utf-8")
    place = tmp_path / "host"
    place.mkdir()
    unpack = _snippet(readme, "for v in common").replace("/somewhere", str(place))
    subprocess.run(["dash", "-eu", "-c", unpack], cwd=path, check=True, timeout=60)
    shutil.rmtree(place / "os-releases")
    shutil.rmtree(place / "constraints")
    for table in path.glob("*-debian-12-x86_64.*"):
        shutil.copy(table, place)

    subprocess.run(["dash", "-eu", "-c", _snippet(readme, "sha256sum --strict --quiet")], cwd=place, check=True)

    expected = {file.path: file for file in sample.files if "debian-12-x86_64" in file.targets}
    found = {
        str(entry.relative_to(place / "root")): entry for entry in (place / "root").rglob("*") if entry.is_file()
    }
    assert set(found) == {*expected, "constraints/upper_constraints_cached.txt"}
    for name, file in expected.items():
        assert found[name].read_bytes() == b"".join(sample.blobs[digest] for digest in file.blobs)
        assert found[name].stat().st_mode & 0o777 == file.mode
    assert found["constraints/upper_constraints_cached.txt"].readlink() == Path("upper_constraints_abc.txt")


def test_the_tables_find_a_damaged_blob(make_bundle: Any, tmp_path: Path, sample: Any) -> None:
    """sha256sum refuses a blob that is not what the table says."""
    path = make_bundle()
    blobs = tmp_path / "host" / "blobs"
    blobs.mkdir(parents=True)
    for digest, data in sample.blobs.items():
        (blobs / digest).write_bytes(data)
    argv = ["sha256sum", "--strict", "--quiet", "-c", str(path / "blobs-debian-12-x86_64.sha256")]

    assert subprocess.run(argv, cwd=blobs.parent, check=False).returncode == 0
    (blobs / sample.files[0].blobs[0]).write_bytes(b"")
    assert subprocess.run(argv, cwd=blobs.parent, capture_output=True, check=False).returncode == 1


def test_the_readme_says_what_it_is(make_bundle: Any, sampler: Any) -> None:
    """Targets, venvs, proof and the namespace stand in README.txt; nothing was left to fill in."""
    text = (make_bundle() / "README.txt").read_text("utf-8")

    assert "demo-2026.1-1795123456" in text
    assert "-n bundle@offline" in text
    assert "/openstack/venvs/keystone-29.0.0  proved (host)" in text
    assert "${" not in text.replace("${path%", "")


def test_contents_are_returned(sample: Any, installer: Path, tmp_path: Path) -> None:
    """The writer returns what a reader then reads."""
    contents = write_bundle(sample.plan(installer), sample.open, tmp_path / "out", ignore)

    assert isinstance(contents, Contents)
    with open_bundle(tmp_path / "out") as bundle:
        assert bundle.contents == contents
