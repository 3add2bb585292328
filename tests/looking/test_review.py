"""`bundle-build review`: what a second signer should look at."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.reader import open_bundle
from bundler.errors import FormatError
from bundler.events import Event, ItemStarted, Warned
from bundler.workflows.review import ReviewRequest, review
from bundler.workflows.review_evidence import load_evidence
from bundler.workflows.review_wheels import MAX_TEXT, read_wheel

Run = Callable[..., Any]
Wheels = Callable[..., Any]
TARGETS = ["debian-12-x86_64", "ubuntu-24.04-x86_64"]
ELF = Path("/bin/true").read_bytes()
POINTS = "[console_scripts]\n{scripts}\n[demo.plugins]\n{plugins}\n"


@pytest.fixture
def compare(release: Callable[..., Any], tmp_path: Path, bundle_build: Run) -> Callable[..., Any]:
    """Return the JSON of a review of nova with one version of a wheel against nova with another."""

    def call(before: Any, after: Any, *options: str, **changes: Any) -> Any:
        old = release(*before, **changes.pop("old", {})).write(tmp_path / "old")
        new = release(*after, sequence=1795129999, **changes).write(tmp_path / "new")
        return bundle_build("review", new, "--against", old, "--json", *options)

    return call


def findings(data: Any, kind: str) -> list[tuple[str, str, str]]:
    return [(one["state"], one["subject"], one["name"]) for one in data["findings"] if one["kind"] == kind]


def test_a_new_pth_file_is_told_with_the_code_it_runs(compare: Run, wheel: Wheels) -> None:
    """A .pth file that an upgrade brings is shown with its import lines, once for both targets."""
    pth = b"import os; os.environ.setdefault('X', '1')\nextra/path\n"

    data = compare([wheel("oslo", "1.0")], [wheel("oslo", "1.1", {"oslo.pth": pth})]).data

    (found,) = [one for one in data["findings"] if one["kind"] == "pth"]
    assert (found["state"], found["subject"], found["version"]) == ("new", "oslo", "1.1")
    assert (found["name"], found["where"]) == ("oslo.pth", TARGETS)
    assert found["detail"] == "runs: import os; os.environ.setdefault('X', '1'); adds path: extra/path"
    assert data["counts"]["pth"] == 1


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        ({"a-1.pth": b"x\n"}, {"a-2.pth": b"x\n"}, ""),
        ({"a.pth": b"x\n"}, {"a.pth": b"import evil\n"}, "changed"),
        ({}, {"oslo-1.1.data/purelib/b.pth": b"import b\n"}, "new"),
        ({}, {"sitecustomize.py": b"import b\n"}, "new"),
        ({"oslo/tests/a.pth": b"import evil\n"}, {"a.pth": b"import evil\n"}, "new"),
    ],
)
def test_start_up_code_is_compared_by_content(
    compare: Run, wheel: Wheels, before: dict[str, bytes], after: dict[str, bytes], state: str
) -> None:
    """A renamed .pth file is nothing new, a changed one is; data directories and sitecustomize are looked at too."""
    data = compare([wheel("oslo", "1.0", before)], [wheel("oslo", "1.1", after)]).data

    assert [one[0] for one in findings(data, "pth")] == ([state] if state else [])


def test_code_cannot_hide_in_a_pth_file(release: Run, wheel: Wheels, tmp_path: Path, bundle_build: Run) -> None:
    """A byte order mark does not hide an import; JSON has the longest line, text says how much it cut off."""
    line = "import os; " + "x = 1; " * 100 + "os.system('true')"
    new = release(wheel("oslo", files={"a.pth": b"\xef\xbb\xbf" + line.encode()})).write(tmp_path / "new")

    (found,) = [one for one in bundle_build("review", new, "--json").data["findings"] if one["kind"] == "pth"]
    text = bundle_build("review", new).text

    assert found["detail"] == f"runs: {line}"
    assert f"… ({len(line) + 6 - 300} more characters, --json has them)" in text


def test_a_new_elf_file_is_told_whatever_its_name(compare: Run, wheel: Wheels) -> None:
    """Native code is known by its first bytes; what the package had before is not told again."""
    before = wheel("fast", "1.0", {"fast/_a.so": ELF, "fast/readme.so": b"no ELF"})
    after = wheel("fast", "1.1", {"fast/_a.so": ELF + b"x", "fast/data.txt": ELF, "fast/readme.so": b"still none"})

    data = compare([before], [after]).data

    assert findings(data, "native") == [("new", "fast", "fast/data.txt")]


def test_new_and_changed_scripts_are_told(compare: Run, wheel: Wheels) -> None:
    """Console scripts that appear or start something else, and files that wheels put into bin."""
    before = wheel("tool", "1.0", entry_points=POINTS.format(scripts="a = tool:a\nb = tool:b", plugins="p = tool.p"))
    points = POINTS.format(scripts="a = tool:other\nb = tool:b\nc = tool:c", plugins="p = tool.p\nq = tool.q:Q")
    after = wheel("tool", "1.1", {"tool-1.1.data/scripts/run.sh": b"#!/bin/sh\n"}, entry_points=points)

    data = compare([before], [after]).data

    assert findings(data, "script") == [("changed", "tool", "a"), ("new", "tool", "c"), ("new", "tool", "run.sh")]
    assert findings(data, "entry-point") == [("new", "tool", "demo.plugins: q")]
    (changed,) = [one for one in data["findings"] if one["name"] == "a"]
    assert (changed["old"], changed["detail"]) == ("tool:a", "tool:other")


def test_packages_come_with_kind_licence_and_source(compare: Run, wheel: Wheels) -> None:
    """An upgraded package says what it was made from, its licence, its URL and the digest in the lock."""
    after = wheel("lib", "2.0", licence="Apache-2.0")

    data = compare([wheel("lib", "1.0", licence="MIT")], [after]).data

    (package,) = data["packages"]
    assert (package["change"], package["name"], package["old"], package["new"]) == ("upgraded", "lib", "1.0", "2.0")
    assert (package["kind"], package["licence"], package["targets"]) == ("wheel", "Apache-2.0", TARGETS)
    assert package["sources"] == [
        {"kind": "wheel", "uri": f"https://index.example/files/{after.filename}", "digest": f"sha256:{after.digest}"}
    ]
    (licence,) = [one for one in data["findings"] if one["kind"] == "licence"]
    assert (licence["old"], licence["detail"], licence["where"]) == ("MIT", "Apache-2.0", TARGETS)


def test_new_hosts_and_moved_origins_are_told(compare: Run, wheel: Wheels) -> None:
    """A host that nothing came from before, a package that now comes from git, and another constraint layer."""
    git = wheel("lib", "2.0", kind="git", url="https://git.example/lib")

    data = compare([wheel("lib", "1.0")], [git], constraints="b").data

    assert findings(data, "source") == [
        ("changed", "constraints:upper", "constraint layer"),
        ("new", "git.example", "host"),
        ("changed", "lib", "origin"),
    ]
    (moved,) = [one for one in data["findings"] if one["name"] == "origin"]
    assert (moved["old"], moved["detail"]) == ("wheel from index.example", "git+https://git.example/lib")


def test_accepted_failures_are_told_with_their_reasons(compare: Run) -> None:
    """Accepted failures are always told; only those that were not accepted before count as new."""
    data = compare([], [], accepted={"a": "optional", "b": "not used"}, old={"accepted": {"a": "optional"}}).data

    proofs = [(one["state"], one["name"], one["detail"]) for one in data["findings"] if one["subject"] == "nova"]
    assert proofs == [
        ("known", "nova console_scripts a", "no; accepted: optional"),
        ("new", "nova console_scripts b", "no; accepted: not used"),
    ]
    assert data["counts"]["proof"] == 2


def test_another_installer_is_told(compare: Run) -> None:
    """The program that sites will run is compared by its digest."""
    data = compare([], [], installer=b"#!/usr/bin/env python3\nprint('other')\n").data

    assert findings(data, "program") == [("changed", "bundle-install", "sha256")]


def test_the_same_content_has_nothing_to_look_at(compare: Run) -> None:
    """Two bundles of the same wheels differ in nothing, and no kind fails."""
    ran = compare([], [], "--fail-on", "pth,native,script,entry-point,source,licence,proof,program,unread")

    assert ran.status == 0
    assert (ran.data["packages"], ran.data["findings"]) == ([], [])


@pytest.mark.parametrize(("kinds", "status"), [("", 0), ("pth,script", 0), ("pth,native", 1), ("native", 1)])
def test_fail_on_ends_with_one_for_the_kinds_named(compare: Run, wheel: Wheels, kinds: str, status: int) -> None:
    """--fail-on looks at the kinds it names and at no other."""
    ran = compare([wheel("fast", "1.0")], [wheel("fast", "1.1", {"fast/_a.so": ELF})], "--fail-on", kinds)

    assert ran.status == status


def test_what_was_accepted_before_fails_no_gate(compare: Run) -> None:
    """A failure of the proof that the older bundle accepted too is told and does not count."""
    accepted = {"a": "optional"}

    ran = compare([], [], "--fail-on", "proof", accepted=accepted, old={"accepted": accepted})

    assert (ran.status, [one["state"] for one in ran.data["findings"]]) == (0, ["known", "known"])


def test_only_new_wheels_are_read(release: Run, wheel: Wheels, tmp_path: Path) -> None:
    """Wheels that the older bundle has are not decoded again: one new wheel and the one before it are."""
    old = release(wheel("lib", "1.0")).write(tmp_path / "old")
    new = release(wheel("lib", "1.1"), sequence=1795129999).write(tmp_path / "new")
    events: list[Event] = []

    review(ReviewRequest(bundle=new, against=old), events.append)

    read = [event.item for event in events if isinstance(event, ItemStarted)]
    assert sorted(read) == ["lib-1.0-py3-none-any.whl", "lib-1.1-py3-none-any.whl"]


def test_an_unknown_kind_is_refused(bundle: Path, bundle_build: Run) -> None:
    """A misspelt kind would make a gate that never closes."""
    ran = bundle_build("review", bundle, "--fail-on", "pht")

    assert ran.status == 2
    assert "pth, native, script" in ran.err


def test_without_an_older_bundle_everything_is_new(
    release: Callable[..., Any], wheel: Wheels, tmp_path: Path, bundle_build: Run
) -> None:
    """The first bundle is shown whole: every package, host, script and program."""
    wheels = [wheel("tool", entry_points="[console_scripts]\ntool = tool:run\n")]
    bundle = release(*wheels, loose=[wheel("pip", "26.1")]).write(tmp_path / "b")

    data = bundle_build("review", bundle, "--json").data

    assert data["against"] == ""
    assert {one["name"]: one["change"] for one in data["packages"]} == dict.fromkeys(
        ["keystone", "nova", "pip", "shared", "tool"], "added"
    )
    assert findings(data, "source") == [
        ("new", "constraints:upper", "constraint layer"),
        ("new", "index.example", "host"),
    ]
    assert findings(data, "script") == [("new", "tool", "tool")]
    assert [one[1] for one in findings(data, "program")] == ["bundle-install", "verify.sh"]


def test_text_shows_tables_and_what_is_quiet(
    release: Callable[..., Any], wheel: Wheels, tmp_path: Path, bundle_build: Run
) -> None:
    """People see one table per kind, native code summed up per package, and which kinds had nothing."""
    files = {f"fast/_{number}.so": ELF for number in range(5)}
    old = release(wheel("fast", "1.0")).write(tmp_path / "old")
    new = release(wheel("fast", "1.1", files), sequence=1795129999).write(tmp_path / "new")

    text = bundle_build("review", new, "--against", old).text

    assert "against demo-2026.1-1795123456" in text
    assert "Native code (ELF files): 5" in text
    assert "fast/_0.so, fast/_1.so, fast/_2.so, and 2 more (--json lists them)" in text
    assert "Nothing new: code that runs whenever python starts, scripts" in text


def test_names_cannot_drive_the_terminal(
    release: Callable[..., Any], wheel: Wheels, tmp_path: Path, bundle_build: Run
) -> None:
    """Control and bidirectional characters in a wheel's names are shown as escapes."""
    hostile = wheel("evil", files={"evil/\x1b[2Jx\u202e.pth": b"import os\x1b[1A\n"})
    new = release(hostile).write(tmp_path / "new")

    text = bundle_build("review", new).text

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "evil/\\x1b[2Jx\\u202e.pth" in text


def test_a_damaged_wheel_in_a_volume_stops_the_review(
    release: Callable[..., Any], wheel: Wheels, tmp_path: Path, bundle_build: Run, damage: Run
) -> None:
    """Nothing is said of bytes that are not the listed ones."""
    bundle = release(wheel("tool")).write(tmp_path / "b")
    with open_bundle(bundle) as opened:
        volume, blob = opened.place(wheel("tool").digest)
    damage(bundle / volume.name, blob.offset + blob.length // 2)

    ran = bundle_build("review", bundle, "--json")

    assert (ran.status, ran.out, ran.error["error"]) == (61, b"", "IntegrityError")
    assert blob.sha256 in ran.error["message"]


def test_a_missing_volume_is_named(bundle: Path, bundle_build: Run) -> None:
    """A bundle that lacks a volume cannot be reviewed, and says which one."""
    (bundle / "common-001.tar.zst").unlink()

    ran = bundle_build("review", bundle, "--json")

    assert (ran.status, ran.error["error"]) == (64, "FileMissing")
    assert "common-001.tar.zst" in ran.error["message"]


def test_all_wheels_that_are_none_are_listed(release: Callable[..., Any], wheel: Wheels, tmp_path: Path) -> None:
    """Every file that is named like a wheel and is none is a problem of its own."""
    wheels = [wheel(name) for name in ("one", "two")]
    for made in wheels:
        object.__setattr__(made, "data", f"no zip {made.name}".encode())
    made_release = release(loose=wheels)
    bundle = made_release.write(tmp_path / "b")

    with pytest.raises(FormatError) as caught:
        review(ReviewRequest(bundle=bundle))

    assert sorted(problem.where for problem in caught.value.problems) == [made.filename for made in wheels]


def test_sources_come_from_the_locks_without_provenance(release: Callable[..., Any], tmp_path: Path) -> None:
    """Evidence that has no provenance gives the same sources out of its locks."""
    bare = release(provenance=False).write(tmp_path / "bare")
    full = release().write(tmp_path / "full")

    with open_bundle(bare) as one, open_bundle(full) as other:
        assert load_evidence(one) == load_evidence(other)


def test_two_different_releases_are_warned_about(
    release: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A review against another release's bundle is done, with a warning."""
    old, new = release().write(tmp_path / "old"), release().write(tmp_path / "new")
    _rename(old)
    events: list[Event] = []

    review(ReviewRequest(bundle=new, against=old), events.append)

    assert [event.message for event in events if isinstance(event, Warned)] == [
        "other and demo are two different releases"
    ]


def _rename(bundle: Path) -> None:
    """Give a bundle another name, with its list made right again."""
    path, sums = bundle / "bundle.json", bundle / "SHA256SUMS"
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"name": "demo"', b'"name": "other"', 1))
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    sums.write_text(sums.read_text().replace(hashlib.sha256(before).hexdigest(), after))


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (zipped({"a.pth": bytes(MAX_TEXT + 1)}), "larger than"),
        (zipped({"a.py": b"x"}, zipfile.ZIP_BZIP2), "compressed as no wheel is"),
        (io.BytesIO(b"PK\x03\x04 nothing"), "no readable wheel"),
        (zipped({"a-1.dist-info/entry_points.txt": b"[console_scripts]\nno value\n"}), "does not parse"),
    ],
)
def test_hostile_wheels_are_refused(file: io.BytesIO, message: str) -> None:
    """Bombs, odd compressions, damage: each is an error of ours that names the wheel."""
    with pytest.raises(Exception, match=message) as caught:
        read_wheel(file, "a-1-py3-none-any.whl")

    assert "a-1-py3-none-any.whl" in str(caught.value)
