"""The release first, another index behind it: real nginx before an index that counts what it is asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from bundler.serving.nginx_options import Cache, NginxOptions
from tests.serving.trees import (
    BASE_WHEEL,
    HTML,
    JSON,
    RELEASE,
    TARGET,
    V1_HTML,
    TinyWheel,
    Upstream,
    put,
    release_files,
    release_links,
    running,
)
from tests.serving.web import HAS_NGINX, Site, free_port, installed, nginx, pip, uv

pytestmark = pytest.mark.skipif(not HAS_NGINX, reason="nginx is not installed")

OTHER = "ubuntu-24.04-x86_64"
#: Evil: what somebody puts on a public index under names of the release.
EVIL = (TinyWheel("foo-bar", "99.0"), TinyWheel("base", "99.0"), TinyWheel("native", "99.0"))
EXTRA = TinyWheel("extra", "2.0", ("base",))
SPELLINGS = ("foo-bar", "Foo_Bar", "foo.bar", "FOO--BAR", "foo_-.bar")
NATIVE = TinyWheel("native", "1.0", tag="cp312-cp312-linux_x86_64")


@dataclass(frozen=True)
class Chain:
    """A site with nginx before two indexes, and a host of files of the first."""

    site: Site
    first: Upstream
    second: Upstream
    files: Upstream
    root: Path

    @property
    def index(self) -> str:
        return f"{self.site.url}/simple/{TARGET}/"

    def ask(self, path: str, accept: str = JSON) -> list[tuple[int, str]]:
        """Follow redirects from ``path``; return status and address of each answer."""
        steps = []
        while True:
            got = self.site.get(path, Accept=accept)
            steps.append((got.status, path))
            if got.status not in {301, 302}:
                return steps
            path = got.fields["location"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    here = tmp_path_factory.mktemp("chain")
    root = here / "www"
    native = release_files(NATIVE, target=OTHER)
    put(
        root,
        {**native, **release_files(*RELEASE)},
        release_links() | {f"simple/{OTHER}": f"../os-releases/33/{OTHER}/simple"},
    )
    with running(Upstream()) as first, running(Upstream()) as second, running(Upstream()) as files:
        for one in EVIL:
            first.add(one)
            second.add(one)
        options = NginxOptions(
            root=str(root),
            listen=(f"127.0.0.1:{free_port()}",),
            upstreams=(f"{first.url}/simple/", f"{second.url}/simple"),
            files=(f"{files.url}/packages/", f"http://127.0.0.1:{free_port()}"),
            cache=Cache(path=str(here / "cache"), size="10m", pages="1s"),
            targets=(TARGET, OTHER),
        )
        with nginx(here / "nginx", options) as site:
            yield Chain(site, first, second, files, root)


@pytest.fixture
def fresh(chain: Chain) -> Chain:
    """Forget what the indexes were asked for."""
    for one in (chain.first, chain.second, chain.files):
        one.asked.clear()
        one.seen.clear()
        one.broken = ""
    return chain


@pytest.mark.parametrize("name", SPELLINGS)
def test_what_the_release_has_is_asked_for_nowhere_else(fresh: Chain, name: str) -> None:
    """Of a project of the release only the release's version is there, under any spelling and in any format."""
    for accept in (JSON, V1_HTML, HTML):
        got = fresh.site.get(f"/simple/{TARGET}/{name}/", Accept=accept)

        assert (got.status, got.kind) == (200, accept)
        assert b"99.0" not in got.body
    assert not fresh.first.asked + fresh.second.asked


@pytest.mark.parametrize("project", ["foo-bar", "base", "native"])
@pytest.mark.parametrize(
    "path",
    ["/upstream/1/simple/{}/", "/upstream/2/simple/{}/", "/upstream/1/simple/{0}/{0}-99.0-py3-none-any.whl"],
)
def test_no_way_round_leads_behind_the_release(fresh: Chain, path: str, project: str) -> None:
    """Who asks for the address behind directly is told that the project is the release's."""
    for name in (project, project.upper(), project.replace("-", "_").title()):
        got = fresh.site.get(path.format(name))

        assert got.status == 404
        assert b"99.0" not in got.body
    assert not fresh.first.asked + fresh.second.asked


def test_what_is_there_for_another_target_is_nowhere_else(fresh: Chain) -> None:
    """A project that the release has for another target only is missing; nobody else is asked for it."""
    got = fresh.site.get(f"/simple/{TARGET}/native/")

    assert (got.status, b"comes from nowhere else" in got.body) == (404, True)
    assert not fresh.first.asked + fresh.second.asked


def test_pip_gets_both_and_is_not_confused(fresh: Chain, tmp_path: Path) -> None:
    """What the release lacks comes from behind; its requirement comes from the release, however high the other's."""
    fresh.first.add(EXTRA)

    done = pip(tmp_path, "--index-url", fresh.index, "Extra", "foo_bar")

    assert done.returncode == 0, done.stderr
    assert installed(tmp_path) == {"extra-2.0", "Foo.Bar-1.0", "base-1.5"}
    assert {path for path in fresh.first.asked if "base" in path or "foo" in path} == set()


@pytest.mark.parametrize("folder", ["../../packages", "/packages", "here", "files"])
def test_uv_gets_files_wherever_a_page_leads(fresh: Chain, tmp_path: Path, folder: str) -> None:
    """Relative addresses, absolute ones, and such on another host all come through us."""
    wheel = TinyWheel(f"far-{folder.strip('./').replace('/', '-')}-{len(folder)}", "1.0")
    host = fresh.files if folder == "files" else fresh.first
    fresh.first.add(wheel, folder=f"{host.url}/packages" if folder in {"files", "here"} else folder)
    fresh.files.put(wheel)

    done = uv(tmp_path, "--index-url", fresh.index, wheel.name)

    assert done.returncode == 0, done.stderr
    assert host.asked[f"/packages/{wheel.filename}"] == 1
    assert (
        fresh.site.get(f"/upstream/{'files-1' if folder == 'files' else '1'}/packages/{wheel.filename}").body
        == wheel.data
    )
    page = fresh.site.get(f"/upstream/1/simple/{wheel.name}/", Accept=HTML).body
    assert b"127.0.0.1" not in page


def test_the_second_time_nobody_is_asked(fresh: Chain) -> None:
    """A page and a file are asked for once; then they come from the cache, whatever the client's spelling."""
    wheel = TinyWheel("kept-once", "1.0")
    fresh.first.add(wheel)

    for name in ("kept-once", "Kept_Once", "kept.once"):
        steps = fresh.ask(f"/simple/{TARGET}/{name}/")
        got = fresh.site.get(f"/upstream/1/packages/{wheel.filename}?{name}")

        assert steps[-1] == (200, "/upstream/1/simple/kept-once/")
        assert (got.status, got.body) == (200, wheel.data)
    assert fresh.first.asked == {"/simple/kept-once/": 1, f"/packages/{wheel.filename}": 1}


def test_a_part_of_a_kept_file(fresh: Chain) -> None:
    """Files from behind can be had in parts too, which downloads that were cut need."""
    wheel = TinyWheel("in-parts", "1.0")
    fresh.first.add(wheel)
    path = f"/upstream/1/packages/{wheel.filename}"
    fresh.site.get(path)

    got = fresh.site.get(path, Range="bytes=5-9")

    assert (got.status, got.body) == (206, wheel.data[5:10])


@pytest.mark.parametrize("how", ["500", "hangs up"])
def test_what_is_kept_outlives_the_index(fresh: Chain, how: Literal["500", "hangs up"]) -> None:
    """When the index behind is out of order, old pages and files are served; what was not kept is a clear 502."""
    name = f"outlives-{how.replace(' ', '-')}"
    wheel, other = TinyWheel(name, "1.0"), TinyWheel(f"{name}-late", "1.0")
    fresh.first.add(wheel)
    fresh.first.add(other)
    fresh.ask(f"/simple/{TARGET}/{name}/")
    fresh.site.get(f"/upstream/1/packages/{wheel.filename}")
    fresh.first.broken = how
    while (page := fresh.site.get(f"/upstream/1/simple/{name}/", Accept=JSON)).fields["x-cache-status"] == "HIT":
        time.sleep(0.05)  # a page counts for a second here

    file = fresh.site.get(f"/upstream/1/packages/{wheel.filename}")
    missing = fresh.site.get(f"/upstream/1/simple/{name}-late/")

    assert (page.status, json.loads(page.body)["name"], page.fields["x-cache-status"]) == (200, name, "STALE")
    assert (file.status, file.body) == (200, wheel.data)
    assert (missing.status, missing.kind) == (502, "text/plain")
    assert b"nothing was kept" in missing.body


def test_a_host_that_is_not_there(fresh: Chain) -> None:
    """A host of files at which nobody listens is a clear 502."""
    got = fresh.site.get("/upstream/files-2/a-1-py3-none-any.whl")

    assert (got.status, got.kind, b"does not answer" in got.body) == (502, "text/plain", True)


def test_one_that_is_down_is_not_passed_over(fresh: Chain) -> None:
    """Only what the first index does not know is asked of the second: while it is out of order nobody may step in."""
    fresh.second.add(TinyWheel("ours-alone", "99.0"))
    fresh.second.add(TinyWheel("only-second", "1.0"))

    found = fresh.ask(f"/simple/{TARGET}/only-second/")
    nowhere = fresh.ask(f"/simple/{TARGET}/no-such-thing/")
    fresh.first.broken = "500"
    down = fresh.ask(f"/simple/{TARGET}/ours-alone/")

    assert found[-1] == (200, "/upstream/2/simple/only-second/")
    assert nowhere[-1] == (404, "/upstream/2/simple/no-such-thing/")
    assert down[-1] == (502, "/upstream/1/simple/ours-alone/")
    assert "/simple/ours-alone/" not in fresh.second.asked


def test_no_release_no_other_index(fresh: Chain) -> None:
    """Without an active release, be it that a disk is not mounted, nobody is asked for names of the release."""
    active = fresh.root / ".bundles" / "active"
    target = active.readlink()
    active.unlink()
    try:
        steps = fresh.ask(f"/simple/{TARGET}/base/") + fresh.ask("/upstream/1/simple/base/")
    finally:
        active.symlink_to(target)

    assert [status for status, _ in steps] == [503, 503]
    assert not fresh.first.asked


def test_nothing_of_a_client_goes_further(fresh: Chain) -> None:
    """No password, cookie or query reaches the index behind, and no cookie or redirect of it a client."""
    fresh.first.add(TinyWheel("discreet", "1.0"))

    got = fresh.site.get(
        "/upstream/1/simple/discreet/?token=1", Authorization="Basic eDp5", Cookie="a=b", Referer="x"
    )

    assert got.status == 200
    assert fresh.first.asked == {"/simple/discreet/": 1}
    assert not {"authorization", "cookie", "referer"} & fresh.first.seen[0].keys()
    assert "set-cookie" not in got.fields


@pytest.mark.parametrize(
    "path",
    [
        "/upstream/1/admin",
        "/upstream/1/",
        "/upstream/1/simple/",
        "/upstream/1/simple/Foo_Bar/",
        "/upstream/1/packages/../admin",
        "/upstream/3/simple/extra/",
        "/upstream/files-1/private/x.whl",
        "/upstream/1/simple/%2e%2e/admin/",
    ],
)
def test_it_is_no_open_proxy(fresh: Chain, path: str) -> None:
    """Of the hosts behind only pages of projects and archives can be had."""
    assert fresh.site.get(path).status == 404
    assert not fresh.first.asked + fresh.second.asked + fresh.files.asked


def test_release_files_are_as_without_it(fresh: Chain) -> None:
    """The release itself is served as before."""
    got = fresh.site.get(f"/simple/{TARGET}/_wheels/{BASE_WHEEL.filename}")

    assert (got.status, got.body) == (200, BASE_WHEEL.data)
