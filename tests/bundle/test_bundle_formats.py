"""SHA256SUMS, bundle.json, paths and tables: what is accepted, and that nothing but FormatError ever comes out."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import BundlerError, ContentsRefused, FormatError, PolicyRefused
from bundler.model.contents import BlobEntry, Contents, ProofEntry, VolumeEntry
from bundler.model.contents_check import check_contents, check_proofs
from bundler.model.contents_json import format_contents, parse_contents
from bundler.model.paths import check_link, check_path, check_tree
from bundler.model.sums import format_sums, parse_sums
from bundler.model.tables import make_tables

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        f"{A}  x".encode(),
        f"{A} x\n".encode(),
        f"{A} *x\n".encode(),
        f"{A}   x\n".encode(),
        f"{A.upper()}  x\n".encode(),
        f"{A[1:]}  x\n".encode(),
        f"{A}  x\r\n".encode(),
        f"{A}  x\n\n".encode(),
        f"{A}  .x\n".encode(),
        f"{A}  -x\n".encode(),
        f"{A}  a/b\n".encode(),
        f"{A}  ../b\n".encode(),
        f"{A}  a b\n".encode(),
        f"{A}  a\0b\n".encode(),
        f"\\{A}  a\n".encode(),
        f"{A}  ä\n".encode(),
        f"{A}  x\n{B}  x\n".encode(),
        f"{A}  b\n{B}  a\n".encode(),
        f"{A}  a\n{B}  B\n".encode(),
        f"{A}  {'x' * 201}\n".encode(),
        f"{A}  SHA256SUMS\n".encode(),
        f"{A}  SHA256SUMS.alice.sig\n".encode(),
        f"{A}  x\n".encode() * 20_000,
    ],
)
def test_a_list_in_any_other_form_is_refused(data: bytes) -> None:
    """There is one way to write SHA256SUMS."""
    with pytest.raises(FormatError):
        parse_sums(data)


_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,30}", fullmatch=True).filter(
    lambda name: not name.startswith("SHA256SUMS")
)


@given(st.dictionaries(_NAMES, st.from_regex(r"[0-9a-f]{64}", fullmatch=True), min_size=1))
def test_lists_round_trip(sums: dict[str, str]) -> None:
    """What is written is read back, in C order."""
    data = format_sums(sums)

    assert parse_sums(data) == sums
    assert [line[66:] for line in data.splitlines()] == sorted(name.encode() for name in sums)


@given(st.binary() | st.text().map(lambda text: f"{A}  {text}\n".encode("utf-8", "surrogatepass")))
def test_the_list_parser_raises_nothing_but_format_errors(data: bytes) -> None:
    """Any bytes are either a list that formats back to themselves, or a FormatError."""
    try:
        sums = parse_sums(data)
    except FormatError:
        return
    assert format_sums(sums) == data


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "a//b", "a/", "../a", "a/../b", "./a", "a/.", ".bundles/x", "a/.git", "-rf", "a/-x", "a b",
     "a\tb", "a\nb", "a\0b", "a\\b", "a\x1b", "a\u202eb", "a\ud800", "a'b", 'a"b', "a$b", "a`b", "a*b", "a;b",
     "e\u0301", "x" * 256, "/".join(["x" * 200] * 6)],
)  # fmt: skip
def test_unsafe_paths_are_refused(path: str) -> None:
    """Paths that leave the root, hide, look like options, or trouble a shell or terminal are refused."""
    with pytest.raises(FormatError):
        check_path(path)


@pytest.mark.parametrize(
    "path", ["a", "os-releases/2026.1/debian-12-x86_64/wheels/x-1!2+l.0-py3-none-any.whl", "é/ü", "a/b@c=d,e~f%g"]
)
def test_ordinary_paths_are_accepted(path: str) -> None:
    """Everything that wheel names and OpenStack-Ansible's layout need is allowed."""
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("path", "to"),
    [("a", "/b"), ("a", "../b"), ("a/b", "../../c"), ("a/b", "c/../../../d"), ("a", ""), ("a", "."), ("a/b", ".."),
     ("a", "b/"), ("a", "x y"), ("a/b/c", "../../../etc")],
)  # fmt: skip
def test_links_out_of_the_root_are_refused(path: str, to: str) -> None:
    """A link may only lead to something inside the root."""
    with pytest.raises(FormatError):
        check_link(path, to)


@given(st.text(), st.text(alphabet="ab./-"))
def test_accepted_links_stay_inside(path: str, to: str) -> None:
    """Whatever is accepted resolves to a path below the root."""
    try:
        check_path(path)
        check_link(path, to)
    except FormatError:
        return
    parts = path.split("/")[:-1]
    for part in to.split("/"):
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    assert parts


def test_a_tree_has_no_file_that_is_a_directory() -> None:
    """A path cannot be a file and a directory, nor occur twice."""
    check_tree(["a/b", "a/c", "a-b"])
    with pytest.raises(FormatError, match="'a'"):
        check_tree(["a/b", "a"])
    with pytest.raises(FormatError, match="twice"):
        check_tree(["a", "a"])


@pytest.fixture
def contents(signed_bundle: Path) -> Contents:
    return parse_contents((signed_bundle / "bundle.json").read_bytes())


def test_bundle_json_round_trips(contents: Contents) -> None:
    """Writing and reading give the same value; an entry takes one line."""
    data = format_contents(contents)

    assert parse_contents(data) == contents
    assert format_contents(parse_contents(data)) == data
    assert all(json.dumps(file.path)[1:-1] in data.decode() for file in contents.files)
    assert sum(1 for line in data.splitlines() if b'"path":' in line) == len(contents.files) + len(contents.links)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (r'"format": 1', r'"format": 2', "format: 2 is not known"),
        (r'"format": 1', r'"format": 0', "format: 0"),
        (r'"format": 1', r'"format": true', "format: must be a whole number"),
        (r'"format": 1', r'"format": 1.0', "no whole number"),
        (r'"critical": \[\]', r'"critical": ["x-future"]', "critical: this version does not know x-future"),
        (r'"sequence": ', r'"sequence": 1, "sequence": ', "'sequence' occurs twice"),
        (r'"sequence": [0-9]+', r'"sequence": -1', "sequence: must be at least 0"),
        (r'"sequence": [0-9]+', r'"sequence": 9007199254740992', r"2\*\*53"),
        (r'"sequence": [0-9]+', r'"sequence": ' + "9" * 5000, "bundle.json"),
        (r'"sequence": [0-9]+', r'"sequence": NaN', "NaN"),
        (r'"name": "demo"', r'"name": "../demo"', "name: "),
        (r'"name": "demo",\n', r"", "name: missing"),
        (r'"mode":"0644"', r'"mode":"4755"', r"files\[0\].mode"),
        (r'"mode":"0644"', r'"mode":"0666"', r"files\[0\].mode"),
        (r'"path":"constraints/upper_constraints_abc', r'"path":"/constraints/upper', r"files\[0\].path"),
        (r'"to":"upper', r'"to":"../../upper', r"links\[0\].to"),
        (r'"sha256":"', r'"sha256":"X', r"files\[0\].sha256"),
        (r'"install_path": "/openstack', r'"install_path": "/openstack/../etc', r"venvs\[0\].install_path"),
        (r'"level":"host"', r'"level":"moon"', r"venvs\[0\].proof.level"),
        (r'"passed":true', r'"passed":1', r"venvs\[0\].proof.passed"),
        (r'"tool": "offline', r'"tool": "\\u001b[31m', "tool: "),
        (r'"tool": "offline', r'"tool": "\\ud800', "tool: "),
        (r'"targets": \[', r'"targets": [5,', r"targets\[0\]"),
        (r'"files": ', r'"files": {}, "other": ', "files: must be a list"),
    ],
)
def test_a_wrong_field_is_named_with_its_path(contents: Contents, old: str, new: str, where: str) -> None:
    """Each kind of wrong field is refused and its path is in the message."""
    text = format_contents(contents).decode()
    changed = re.sub(old, lambda _: new.replace("\\\\u", "\\u"), text, count=1)
    assert changed != text

    with pytest.raises(FormatError, match=where) as caught:
        parse_contents(changed.encode())

    assert caught.value.message.startswith("bundle.json")


def test_unknown_keys_are_ignored(contents: Contents) -> None:
    """A newer writer may add keys that are not critical."""
    document = json.loads(format_contents(contents))
    document["x-note"] = {"any": [1, None]}
    document["files"][0]["x-more"] = "y"

    assert parse_contents(json.dumps(document).encode()) == contents


@pytest.mark.parametrize(
    "data", [b"[" * 200_000, b'{"a":' * 200_000, b"\xff", b"\xef\xbb\xbf{}", b"{}", b"[]", b"null"]
)
def test_documents_that_are_none_are_refused(data: bytes) -> None:
    """Depth, encodings and other JSON values end in a FormatError."""
    with pytest.raises(FormatError):
        parse_contents(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.data())
def test_the_bundle_parser_raises_nothing_but_format_errors(data: st.DataObject) -> None:
    """Any value in the place of any field, and any bytes at all, are a FormatError or parse."""
    blob = {"sha256": A, "size": 0, "offset": 0, "length": 1}
    document: dict[str, Any] = {
        "format": 1, "name": "n", "version": "1", "sequence": 1, "floor": 0, "created": 0, "tool": "t",
        "targets": [], "links": [], "venvs": [],
        "files": [{"path": "a", "size": 0, "sha256": A, "mode": "0644", "targets": [], "blobs": [A]}],
        "volumes": [{"name": "v", "target": "", "size": 1, "blobs": [blob]}],
    }  # fmt: skip
    assert parse_contents(json.dumps(document).encode()).name == "n"
    place = data.draw(st.sampled_from([document, document["files"][0], document["volumes"][0]["blobs"][0]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(_JSON)
    raw = data.draw(st.binary() | st.just(json.dumps(document).encode()))
    try:
        parse_contents(raw)
    except FormatError:
        return


def _change(contents: Contents, path: str, **changes: Any) -> Contents:
    files = tuple(
        dataclasses.replace(file, **changes) if file.path.endswith(path) else file for file in contents.files
    )
    return dataclasses.replace(contents, files=files)


def test_contents_that_hold_together_are_accepted(contents: Contents) -> None:
    """What the writer makes passes the check."""
    check_contents(contents)
    check_proofs(contents)


def test_contents_that_contradict_themselves_are_refused(contents: Contents) -> None:
    """Sizes, digests, missing, unused, doubled and overlapping blobs, unknown targets and lost archives are found."""
    volume = contents.volumes[1]
    first = volume.blobs[0]
    stray = BlobEntry(sha256=A, size=1, offset=volume.size - 1, length=1)

    def volumes(*others: VolumeEntry) -> Contents:
        return dataclasses.replace(contents, volumes=(contents.volumes[0], *others, *contents.volumes[2:]))

    bad: dict[str, Contents] = {
        "bytes, its blobs": _change(contents, "abc.txt", size=1),
        "another digest": _change(contents, "abc.txt", sha256=A),
        "which no volume carries": volumes(dataclasses.replace(volume, blobs=volume.blobs[1:])),
        "has no blobs": _change(contents, "abc.txt", blobs=()),
        "no target": _change(contents, "abc.txt", targets=()),
        "not for": _change(contents, "abc.txt", targets=("rocky-9-x86_64",)),
        "from a volume of": _change(contents, "linux_x86_64.whl", targets=tuple(t.name for t in contents.targets)),
        "belongs to no file": volumes(dataclasses.replace(volume, blobs=(*volume.blobs, stray))),
        "is carried 2 times": volumes(volume, dataclasses.replace(volume, name=f"{volume.target}-002.tar.zst")),
        "occurs 2 times": volumes(volume, volume),
        "overlaps": volumes(
            dataclasses.replace(volume, blobs=(first, dataclasses.replace(volume.blobs[1], offset=first.offset)))
        ),
        "beyond its end": volumes(dataclasses.replace(volume, size=10)),
        "not named": volumes(dataclasses.replace(volume, name="x-001.tar.zst")),
        "occurs twice": dataclasses.replace(contents, files=contents.files + contents.files[:1]),
        "its archive": dataclasses.replace(
            contents, venvs=(dataclasses.replace(contents.venvs[0], archive="nowhere"),)
        ),
    }
    for words, wrong in bad.items():
        with pytest.raises(ContentsRefused) as caught:
            check_contents(wrong)
        assert any(words in str(problem) for problem in caught.value.problems), words


@pytest.mark.parametrize(
    ("proof", "fine"),
    [
        (ProofEntry(level="host", passed=True, checks=1), True),
        (ProofEntry(level="host", passed=False, checks=1), False),
        (ProofEntry(level="host", passed=False, checks=1, unproved_allowed=True), False),
        (ProofEntry(level="none", passed=False, checks=0), False),
        (ProofEntry(level="none", passed=True, checks=0), False),
        (ProofEntry(level="none", passed=False, checks=0, unproved_allowed=True), True),
    ],
)
def test_unproved_venvs_need_the_manifests_leave(contents: Contents, proof: ProofEntry, *, fine: bool) -> None:
    """Only a passed proof, or none with leave, is accepted."""
    changed = dataclasses.replace(contents, venvs=(dataclasses.replace(contents.venvs[0], proof=proof),))
    error: BundlerError | None = None
    try:
        check_proofs(changed)
    except PolicyRefused as caught:
        error = caught

    assert (error is None) is fine


def test_the_tables_have_only_a_targets_own_files(contents: Contents) -> None:
    """A target's tables name its files and links, sorted, and no other's."""
    tables = make_tables(contents, "debian-12-x86_64")

    assert sorted(tables) == [
        "assemble-debian-12-x86_64.tsv", "blobs-debian-12-x86_64.sha256", "files-debian-12-x86_64.sha256",
    ]  # fmt: skip
    rows = [line.split("\t") for line in tables["assemble-debian-12-x86_64.tsv"].decode().splitlines()]
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert all(len(row) == 5 and "ubuntu" not in row[1] for row in rows)
    assert rows[1] == [
        "link",
        "constraints/upper_constraints_cached.txt",
        "0777",
        "root",
        "upper_constraints_abc.txt",
    ]
