"""What `bundle-install serve` and nginx with our configuration answer: the same, to the same requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.serving.nginx_options import NginxOptions
from tests.serving.trees import BASE, FOO, HTML, JSON, RELEASE, TARGET, V1_HTML, put, release_files, release_links
from tests.serving.web import HAS_NGINX, Site, free_port, installed, nginx, ours, pip, uv

WHEEL = f"/{BASE}/wheels/{FOO.filename}"
PAGE = f"/simple/{TARGET}/foo-bar/"
#: The Accept of pip and of uv, and others, and which page each wants.
ACCEPTS = {
    f"{JSON}, {V1_HTML}; q=0.1, {HTML}; q=0.01": JSON,
    f"{JSON}, {V1_HTML};q=0.2, {HTML};q=0.01": JSON,
    f"{V1_HTML};q=0.2, {JSON};q=0.9": JSON,
    f"{HTML};q=0.01,{JSON};q=0.0": HTML,
    f"{HTML};q=0.5,{V1_HTML}": V1_HTML,
    f"{JSON};q=0.3,{HTML}": HTML,
    f"{JSON};q=0.3,{HTML};q=0.4": HTML,
    "application/vnd.pypi.simple.latest+json": JSON,
    JSON.upper(): JSON,
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": HTML,
    "*/*": HTML,
    "application/vnd.pypi.simple.v2+json": HTML,
    "": HTML,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("both") / "www"
    put(root, {**release_files(*RELEASE), "constraints/upper.txt": b"base===1.5\n"}, release_links())
    return root


_NGINX = pytest.param("nginx", marks=pytest.mark.skipif(not HAS_NGINX, reason="nginx is not installed"))


@pytest.fixture(scope="module", params=["serve", _NGINX])
def site(request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if request.param == "serve":
        with ours(root) as running:
            yield running
    else:
        options = NginxOptions(root=str(root), listen=(f"127.0.0.1:{free_port()}",))
        with nginx(tmp_path_factory.mktemp("nginx"), options) as running:
            yield running


def test_a_file_comes_whole(site: Site) -> None:
    """A wheel comes byte for byte, through the links of a release; a HEAD says the same without it."""
    got, told = site.get(WHEEL), site.get(WHEEL, "HEAD")

    assert (got.status, got.body, got.kind) == (200, FOO.data, "application/zip")
    assert got.fields["cache-control"] == "no-cache"
    assert (told.status, told.body, told.fields["content-length"]) == (200, b"", str(len(FOO.data)))


@pytest.mark.parametrize(
    ("field", "start", "end"), [("bytes=10-19", 10, 20), ("bytes=100-", 100, None), ("bytes=-7", -7, None)]
)
def test_a_part_comes_alone(site: Site, field: str, start: int, end: int | None) -> None:
    """One range of bytes is answered with 206 and just these bytes."""
    got = site.get(WHEEL, Range=field)

    assert (got.status, got.body) == (206, FOO.data[start:end])
    assert got.fields["content-range"].endswith(f"/{len(FOO.data)}")


def test_a_part_that_there_is_not(site: Site) -> None:
    """A range behind the end is answered with 416 and the size."""
    got = site.get(WHEEL, Range="bytes=999999-")

    assert (got.status, got.fields["content-range"]) == (416, f"bytes */{len(FOO.data)}")


def test_nothing_new_is_said_in_few_bytes(site: Site) -> None:
    """Who shows the tag or the time of what it has gets 304; another time, even a later one, gets the file."""
    first = site.get(WHEEL)

    assert site.get(WHEEL, If_None_Match=f'"x", {first.fields["etag"]}').status == 304
    assert site.get(WHEEL, If_None_Match='"x"').status == 200
    assert site.get(WHEEL, If_Modified_Since=first.fields["last-modified"]).status == 304
    assert site.get(WHEEL, If_Modified_Since="Fri, 01 Jan 2100 00:00:00 GMT").status == 200
    assert site.get(WHEEL, If_Range=first.fields["etag"], Range="bytes=0-3").status == 206
    assert site.get(WHEEL, If_Range='"old"', Range="bytes=0-3").status == 200


@pytest.mark.parametrize("accept", ACCEPTS)
def test_a_page_comes_as_it_is_wanted(site: Site, accept: str) -> None:
    """JSON or HTML, by the highest quality in Accept; caches are told that it depends on that."""
    got = site.get(PAGE, Accept=accept)

    assert (got.status, got.kind) == (200, ACCEPTS[accept])
    assert "Accept" in got.fields["vary"]
    assert got.body.startswith(b"{" if got.kind == JSON else b"<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["Foo.Bar", "foo_bar", "FOO-BAR", "foo--bar", "foo-_.bar", "Foo__Bar"])
@pytest.mark.parametrize("index", [f"/simple/{TARGET}", "/simple/all", f"/{BASE}/simple"])
def test_a_project_has_one_page_whatever_its_spelling(site: Site, index: str, name: str) -> None:
    """Other spellings of a name lead to the project's page, as PEP 503 compares names."""
    got = site.get(f"{index}/{name}/", Accept=JSON)

    assert (got.status, json.loads(got.body)["name"]) == (200, "foo-bar")


def test_a_missing_slash_is_added(site: Site) -> None:
    """Without its last slash, links of a page would lead elsewhere: clients are sent to the right address."""
    got = site.get(f"/simple/{TARGET}/foo-bar")

    assert (got.status, got.fields["location"]) == (301, PAGE)


@pytest.mark.parametrize(
    "path",
    [
        "/.bundles/views/1/tree/constraints/upper.txt",
        "/.bundles/active/tree/constraints/upper.txt",
        "/%2ebundles/active/tree/constraints/upper.txt",
        "/simple/../.bundles/active/lines",
        "/simple/%2e%2e/.bundles/active/tree/constraints/upper.txt",
        "//.bundles/active/tree/constraints/upper.txt",
        f"/{BASE}/",
        f"/{BASE}",
        "/",
        "/constraints/",
        f"/simple/{TARGET}/nothing/",
        f"/simple/{TARGET}/index.html/",
        f"/simple/{TARGET}/foo-bar%0d%0aX:y",
        "/nothing%00",
    ],
)
def test_nothing_else_is_shown(site: Site, path: str) -> None:
    """Our own state, directories without a page and what is not there: no content, whatever way it is asked for."""
    got = site.get(path)

    assert got.status in {301, 400, 403, 404}
    assert b"===" not in got.body
    assert b"href" not in got.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(site: Site, method: str) -> None:
    """Other methods than GET and HEAD are refused."""
    assert site.get(WHEEL, method).status == 405


def test_pip_installs(site: Site, tmp_path: Path) -> None:
    """The index of a target is all that pip needs to install a project under another spelling, and what it needs."""
    done = pip(tmp_path, "--index-url", f"{site.url}/simple/{TARGET}/", "foo_bar")

    assert done.returncode == 0, done.stderr
    assert installed(tmp_path) == {"Foo.Bar-1.0", "base-1.5"}


def test_uv_installs(site: Site, tmp_path: Path) -> None:
    """So does uv, and from the index over all targets."""
    for index in (TARGET, "all"):
        done = uv(tmp_path / index, "--index-url", f"{site.url}/simple/{index}/", "Foo_Bar")

        assert done.returncode == 0, done.stderr
        assert installed(tmp_path / index) == {"Foo.Bar-1.0", "base-1.5"}


@pytest.mark.parametrize("listed", [True, False])
def test_pip_finds_links(site: Site, root: Path, tmp_path: Path, *, listed: bool) -> None:
    """--find-links reads the directory of wheels, also of a bundle that brought no list of them."""
    page = root / BASE / "wheels" / "index.html"
    text = page.read_bytes()
    if not listed:
        page.unlink()
    try:
        done = pip(tmp_path, "--no-index", "--find-links", f"{site.url}/{BASE}/wheels/", "foo-bar")
    finally:
        page.write_bytes(text)

    assert done.returncode == 0, done.stderr
    assert installed(tmp_path) == {"Foo.Bar-1.0", "base-1.5"}
