"""`bundle-build page`: a bundle as one HTML page, read here as a program reads HTML."""

from __future__ import annotations

import base64
import hashlib
import tarfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.reader import open_bundle
from bundler.bundle.writer import BundlePlan
from bundler.model.inspection import blob_sizes
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import AllowedSigner, format_allowed_signers
from bundler.store.cas import Store
from bundler.workflows.page_file import with_page

Run = Callable[..., Any]
Wheels = Callable[..., Any]
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egpj.exe\u200f"


class Document(HTMLParser):
    """The tables of a page: id → rows of cells, with tags and attributes of everything."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs)["id"] or "", [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag == "br":
            self.handle_data(" ")
        if tag in ("style", "script", "td", "th", "h1", "p", "dd", "dt", "option"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for tag in self._open[-1:]:
            self.texts[tag][-1] += data
            if tag in ("td", "th"):
                self._rows[-1][-1] += data

    def row(self, table: str, first: str) -> list[str]:
        return next(row for row in self.tables[table][1:] if row[0].removesuffix(" *") == first)

    def column(self, table: str, title: str) -> list[str]:
        number = self.tables[table][0].index(title)
        return [row[number] for row in self.tables[table][1:]]


@pytest.fixture
def page(bundle_build: Run, tmp_path: Path) -> Callable[..., Document]:
    """Write the page of a bundle and read it."""

    def call(bundle: Path, *options: str | Path) -> Document:
        ran = bundle_build("page", bundle, "--out", tmp_path / "page.html", *options)
        assert ran.status == 0, ran.err
        return Document((tmp_path / "page.html").read_text("utf-8"))

    return call


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    """Return allowed_signers with the key that signed the bundle of ``signed``."""
    key = sshkeygen.public_key(tmp_path / "alice")
    path = tmp_path / "allowed_signers"
    path.write_bytes(
        format_allowed_signers([AllowedSigner(principal="alice", namespaces=("bundle@offline",), key=key)])
    )
    return path


def test_packages_come_with_licence_origin_constraint_and_places(
    release: Callable[..., Any], wheel: Wheels, page: Callable[..., Document], tmp_path: Path
) -> None:
    """A package is one row: what it is, under what licence, from where, pinned by whom, and in which venvs."""
    built = wheel("extra", "2.0.0", kind="sdist", licence="GPL-3.0-only")
    source = wheel("sourced", "1.1", kind="git", url="https://git.example/sourced")
    made = release(built, source, sboms=True, effective={"release": "extra===2.0.0  # upper upper.txt:7\n"})

    found = page(made.write(tmp_path / "bundle"))

    row = found.row("package-table", "extra")
    titles = found.tables["package-table"][0]
    shown = dict(zip(titles, row, strict=True))
    assert (shown["Version"], shown["Licence"], shown["Venvs"]) == ("2.0.0", "GPL-3.0-only", "nova")
    assert shown["Origin"] == "sdist from index.example, compiled"
    assert shown["Constraint"] == "upper"
    assert shown["Targets"].split() == ["debian-12-x86_64", "ubuntu-24.04-x86_64"]
    assert f"sha256:{built.digest}" in shown["Wheels"]
    assert "compiled for debian-12-x86_64, ubuntu-24.04-x86_64" in shown["Wheels"]
    assert "extra===2.0.0 of upper upper.txt:7" in shown["Wheels"]
    commit = source.locked().origin.commit
    assert found.row("package-table", "sourced")[titles.index("Origin")].startswith(
        f"git {commit[:12]} from git.example"
    )
    assert commit in found.row("package-table", "sourced")[-1]


def test_the_head_and_the_other_tables_say_what_bundle_json_says(
    bundle: Path, page: Callable[..., Document], bundle_build: Run
) -> None:
    """Release, sequence, digest, targets, venvs with proofs, volumes, constraint layers: as inspect has them."""
    data = bundle_build("inspect", bundle, "--json").data

    found = page(bundle)

    facts = dict(zip(found.texts["dt"], found.texts["dd"], strict=True))
    assert found.texts["h1"] == ["demo 2026.1"]
    assert facts["SHA-256 of SHA256SUMS"] == data["sha256sums"]
    assert facts["Sequence"] == "1795123456"
    assert found.column("target-table", "Target") == [target["name"] for target in data["targets"]]
    assert found.column("venv-table", "Venv") == [venv["name"] for venv in data["venvs"]]
    assert set(found.column("venv-table", "Proof")) == {"passed on the build host: 3 checks"}
    assert found.column("volumes", "Volume") == [volume["name"] for volume in data["volumes"]]
    assert found.column("layers", "From") == ["https://pins.example/upper.txt"]


def test_accepted_failures_are_told_with_their_reason(
    release: Callable[..., Any], page: Callable[..., Document], tmp_path: Path
) -> None:
    """What a proof let pass stands on the page, with why."""
    found = page(release(accepted={"nova-novnc": "needs a console"}).write(tmp_path / "bundle"))

    assert ["nova", "debian-12-x86_64", "nova console_scripts nova-novnc", "no", "needs a console"] in found.tables[
        "accepted"
    ]


def test_signatures_are_quoted_or_verified_and_the_page_says_which(
    signed: Path, alice: Path, page: Callable[..., Document]
) -> None:
    """Without allowed signers a signature is only quoted; with them the whole bundle is verified first."""
    quoted, verified = page(signed), page(signed, "--allowed-signers", alice)

    fingerprint = sshkeygen.public_key(alice.parent / "alice").fingerprint
    assert quoted.tables["signatures"][1][:3] == ["alice", fingerprint, "stated, not checked"]
    assert verified.tables["signatures"][1][:3] == ["alice", fingerprint, "verified"]
    digest = hashlib.sha256(alice.read_bytes()).hexdigest()
    assert any(digest in said for said in verified.texts["p"])
    assert any(said.startswith("Nobody checked them") for said in quoted.texts["p"])


def test_a_signature_that_does_not_count_is_said_so(
    signed: Path, alice: Path, page: Callable[..., Document], tmp_path: Path
) -> None:
    """Beside one that is verified, a stranger's signature does not count, and why."""
    sshkeygen.generate(tmp_path / "mallory", "mallory")
    armored = sshkeygen.sign((signed / "SHA256SUMS").read_bytes(), tmp_path / "mallory", "bundle@offline")
    (signed / "SHA256SUMS.bob.sig").write_bytes(armored)

    found = page(signed, "--allowed-signers", alice)

    assert {row[0]: row[2].partition(":")[0] for row in found.tables["signatures"][1:]} == {
        "alice": "verified",
        "bob": "does not count",
    }


def test_a_bundle_that_is_not_signed_as_asked_gets_no_page(
    bundle: Path, signed: Path, alice: Path, bundle_build: Run, damage: Callable[[Path, int], None], tmp_path: Path
) -> None:
    """With allowed signers a damaged volume, or too few signers, ends with verify's own exit code and no page."""
    out = tmp_path / "page.html"
    asked = ("page", signed, "--allowed-signers", alice, "--out", out)

    few = bundle_build(*asked, "--threshold", "2")
    damage(next(signed.glob("*-001.tar.zst")), 100)
    damaged = bundle_build(*asked)

    verdicts = [
        bundle_build("verify", signed, "--allowed-signers", alice, *more).status
        for more in (("--threshold", "2"), ())
    ]
    assert [few.status, damaged.status] == verdicts
    assert 0 not in verdicts
    assert not out.exists()


def test_changes_since_the_previous_bundle_are_listed(
    release: Callable[..., Any], wheel: Wheels, page: Callable[..., Document], tmp_path: Path
) -> None:
    """Packages that were added, removed or moved stand in a table of their own and beside their row."""
    old = release(wheel("oslo", "1.0"), wheel("gone", "1.0")).write(tmp_path / "old")
    new = release(wheel("oslo", "1.1"), wheel("fresh", "3"), sequence=1795129999).write(tmp_path / "new")

    found = page(new, "--previous", old)

    changes = {row[0]: row[1:4] for row in found.tables["changed-packages"][1:]}
    assert changes["oslo"] == ["upgraded", "1.0", "1.1"]
    assert changes["gone"] == ["removed", "1.0", ""]
    assert changes["fresh"] == ["added", "", "3"]
    assert found.row("package-table", "oslo")[2] == "upgraded from 1.0"
    assert found.row("package-table", "shared")[2] == ""
    assert found.column("needed", "For") == ["all targets", "debian-12-x86_64", "ubuntu-24.04-x86_64"]


def test_hostile_metadata_stays_text(
    release: Callable[..., Any], wheel: Wheels, page: Callable[..., Document], tmp_path: Path
) -> None:
    """Tags in a licence, a reason or a tool's name make no element; bidirectional marks are spelt out."""
    evil = wheel("evil", "1.0", licence=HOSTILE.replace("\n", " "))
    made = release(evil, sboms=True, tool=f"tool {HOSTILE[:-9]}", accepted={f"run{HOSTILE}": HOSTILE})

    found = page(made.write(tmp_path / "bundle"))

    names = [tag for tag, _ in found.tags]
    assert "img" not in names
    assert names.count("script") == 1
    assert not [attributes for _, attributes in found.tags if any(name.startswith("on") for name in attributes)]
    spelt = HOSTILE.replace("\u202e", "\\u202e").replace("\u200f", "\\u200f")
    assert found.row("package-table", "evil")[2] == spelt
    assert found.tables["accepted"][1][-1] == spelt
    assert not {"\u202e", "\u200f"} & set((tmp_path / "page.html").read_text("utf-8"))


def test_the_page_needs_nothing_else_and_allows_nothing_else(bundle: Path, page: Callable[..., Document]) -> None:
    """No element loads anything; the policy names the very style and script that the page has, and only them."""
    found = page(bundle)

    loading = [
        (tag, attributes) for tag, attributes in found.tags if {"src", "srcset", "action", "style"} & {*attributes}
    ]
    policy = next(
        attributes["content"] or "" for tag, attributes in found.tags if tag == "meta" and "http-equiv" in attributes
    )
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(found.texts[tag][0].encode()).digest()).decode()}'"
        for tag in ("script", "style")
    ]
    assert not loading
    assert {attributes["href"] for tag, attributes in found.tags if tag == "a"} <= {
        f"#{attributes['id']}" for _, attributes in found.tags if "id" in attributes
    }
    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src {hashes[0]}",
        f"style-src {hashes[1]}",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_tables_can_be_understood_without_seeing_them(bundle: Path, page: Callable[..., Document]) -> None:
    """Every table has a caption, heads with a scope, and a region with a name; every field has a label."""
    found = page(bundle)

    heads = [attributes.get("scope") for tag, attributes in found.tags if tag == "th"]
    names = [tag for tag, _ in found.tags]
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    regions = [attributes for _, attributes in found.tags if attributes.get("role") == "region"]
    assert names.count("caption") == names.count("table") == len(regions)
    assert set(heads) == {"col", "row"}
    assert {attributes["aria-labelledby"] for attributes in regions} <= set(ids)
    assert len(ids) == len(set(ids))
    assert names.count("label") == sum(names.count(field) for field in ("input", "select"))


def test_the_same_bundle_gives_the_same_bytes(
    bundle: Path, bundle_build: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Directory or tar, today or tomorrow: the page is the same, and says so in --json."""
    with tarfile.open(tmp_path / "demo.tar", "w") as tar:
        for path in sorted(bundle.iterdir()):
            tar.add(path, f"demo-2026.1-1795123456/{path.name}")

    first = bundle_build("page", bundle, "--out", tmp_path / "one.html", "--json").data
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    second = bundle_build("page", tmp_path / "demo.tar", "--out", tmp_path / "two.html", "--json").data

    assert first["sha256"] == second["sha256"] == hashlib.sha256((tmp_path / "two.html").read_bytes()).hexdigest()
    assert first["signatures"] == {}
    assert first["packages"] == 3


def test_the_page_goes_beside_the_bundle_never_into_it(bundle: Path, bundle_build: Run) -> None:
    """By default it is ID.html beside the bundle; inside it the file would break what was signed."""
    ran = bundle_build("page", bundle)
    inside = bundle_build("page", bundle, "--out", bundle / "page.html", "--json")
    directory = bundle_build("page", bundle, "--out", bundle.parent, "--json")

    assert (ran.status, inside.status, directory.status) == (0, 2, 2)
    assert (bundle.parent / "demo-2026.1-1795123456.html").is_file()
    assert "would be part of the bundle" in inside.error["message"]
    assert not (bundle / "page.html").exists()


def test_damaged_evidence_is_refused(release: Callable[..., Any], bundle_build: Run, tmp_path: Path) -> None:
    """Constraints or SBOMs that do not parse end with one line and a bundle's exit code."""
    garbled = release(effective={"release": "!!\n"}).write(tmp_path / "one")

    ran = bundle_build("page", garbled, "--json")

    assert ran.status != 0
    assert "Traceback" not in ran.err
    assert ran.error["message"]


def test_the_page_in_the_bundle_is_a_file_of_the_release(
    release: Callable[..., Any], wheel: Wheels, tmp_path: Path
) -> None:
    """What a build puts on repo hosts lists the same packages and sizes; it names no signature and no digest."""
    written = release(wheel("extra", "2.0"), sboms=True).write(tmp_path / "bundle")
    with open_bundle(written) as bundle:
        contents, evidence = bundle.contents, list(bundle.evidence().items())
    plan = BundlePlan(
        name=contents.name, version=contents.version, sequence=contents.sequence, floor=0, created=1, tool="tool 1",
        targets=contents.targets, files=contents.files, links=contents.links, venvs=contents.venvs,
        blob_sizes=blob_sizes(contents), installer=Path(), evidence=evidence,
    )  # fmt: skip
    store = Store(tmp_path / "store")

    done, again = (with_page(plan, "os-releases/2026.1", store) for _ in range(2))

    (file,) = set(done.files) - set(plan.files)
    assert done == again
    assert (file.path, file.targets) == ("os-releases/2026.1/index.html", ("debian-12-x86_64", "ubuntu-24.04-x86_64"))
    assert done.blob_sizes[file.sha256] == file.size
    with store.open(file.sha256) as opened:
        found = Document(opened.read().decode())
    assert found.column("package-table", "Package") == ["extra *", "keystone *", "nova", "shared"]
    assert found.column("venv-table", "Archive") != ["0 B"] * 4
    assert not {"signatures", "volumes"} & {*found.tables}
    assert "SHA-256 of SHA256SUMS" not in found.texts["dt"]
    assert any("is a file of the bundle" in said for said in found.texts["p"])
