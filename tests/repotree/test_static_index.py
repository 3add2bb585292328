"""The package indexes of a release, read by real clients over HTTP."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bundler.model.paths import check_link, check_path
from bundler.model.simple_index import is_portable
from bundler.store.cas import Store
from tests.repotree.conftest import HERE, JSON, ROOT, Bench, Client, Server, serving

OTHER, PLATFORM = "debian-99-x86_64", f"manylinux_2_17_{platform.machine()}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a release for two targets as a host with both of them has it."""
    base = tmp_path_factory.mktemp("release")
    bench = Bench(Store(base / "store"))
    app = bench.wheel("app", "1.0", requires=["lib_one"])
    lib, old = bench.wheel("lib_one", "2.0+local.1", python=">=3.8,<4"), bench.wheel("lib_one", "1.0")
    capital = bench.wheel("Capital", "1.0")
    gone = bench.wheel("gone", "1.0", yanked='broken & "withdrawn"')
    here, there = (bench.wheel("native", "1.0", f"py3-none-linux_{arch}") for arch in (platform.machine(), "other"))
    wide = bench.wheel("wide", "1.0", f"py3-none-{PLATFORM}")
    sets = (bench.set(HERE, app, lib, capital, gone, here, wide), bench.set(HERE, old, venv="old"))
    return bench.lay_out(base / "root", [HERE, OTHER], *sets, bench.set(OTHER, lib, there))


@pytest.fixture(params=[True, False], ids=["json", "html"])
def server(tree: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    yield from serving(tree, negotiating=request.param)


class _Anchors(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self.now: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.now = {name: value or "" for name, value in attrs}

    def handle_data(self, data: str) -> None:
        if self.now:
            self.found[data], self.now = self.now, {}


@pytest.mark.parametrize("index", [f"simple/{HERE}", f"{ROOT}/{HERE}/simple", "simple/all", f"{ROOT}/simple"])
@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_clients_install_from_every_name(server: Server, client: Client, index: str, tool: str) -> None:
    """Both clients install a package and what it needs with nothing but --index-url."""
    getattr(client, tool)("--target", str(client.home / "into"), "--index-url", f"{server.url}/{index}/", "app")

    assert (client.home / "into/lib_one.py").is_file()
    assert (client.home / "into/lib_one-2.0+local.1.dist-info").is_dir()


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_resolving_takes_no_wheel(server: Server, client: Client, tool: str) -> None:
    """With metadata beside the wheels a client finds out what it would install without any of them (PEP 658)."""
    target = str(client.home / "into")
    getattr(client, tool)("--dry-run", "--target", target, "--index-url", f"{server.url}/simple/{HERE}/", "app")

    assert sorted(path.rpartition("/")[2] for path in server.asked(".metadata")) == [
        "app-1.0-py3-none-any.whl.metadata",
        "lib_one-2.0%2Blocal.1-py3-none-any.whl.metadata",
    ]
    assert server.asked(".whl") == []


def test_clients_that_ask_for_json_get_it(tree: Path, client: Client) -> None:
    """A client like uv reads PEP 691 from a server that gives it a choice."""
    for server in serving(tree, negotiating=True):
        client.uv("--target", str(client.home / "into"), "--index-url", f"{server.url}/simple/{HERE}/", "app")

        assert server.types.count(JSON) == 2


def test_the_pip_of_the_distribution_installs_a_name_with_capitals(
    server: Server, client: Client, tmp_path: Path
) -> None:
    """What `python3 -m venv` of Debian 12 brings, pip 23.0, has its own ideas of PEP 658: it is not led there."""
    client.run("/usr/bin/python3", "-m", "venv", str(tmp_path / "venv"))
    pip = str(tmp_path / "venv/bin/pip")
    client.run(pip, "install", "--no-cache-dir", "--index-url", f"{server.url}/simple/{HERE}/", "capital")

    assert "Capital" in client.run(pip, "list")


def test_hashes_of_a_lock_are_checked(server: Server, client: Client, tree: Path) -> None:
    """A lock with hashes installs under --require-hashes, and another hash than the page's is refused."""
    page = json.loads((tree / f"simple/{HERE}/wide/index.json").read_text())
    digest = page["files"][0]["hashes"]["sha256"]
    for name, given, fails in (("right", digest, False), ("wrong", "0" * 64, True)):
        (client.home / "r.txt").write_text(f"wide==1.0 --hash=sha256:{given}\n")
        index = ("--index-url", f"{server.url}/simple/{HERE}/", "--require-hashes", "-r", "r.txt")
        client.pip("--target", str(client.home / name), *index, fails=fails)


def test_a_folder_of_wheels_is_verified(tree: Path, client: Client, tmp_path: Path) -> None:
    """--find-links reads the page of the wheels; pip refuses a wheel that is not the one of the page."""
    root = tmp_path / "copy"
    root.mkdir()
    wheels = root / "wheels"
    wheels.mkdir()
    for path in (tree / f"{ROOT}/{HERE}/wheels").iterdir():
        (wheels / path.name).write_bytes(path.read_bytes())
    arguments = ("--no-index", "--find-links")
    for server in serving(root, negotiating=False):
        client.pip("--target", str(client.home / "into"), *arguments, f"{server.url}/wheels/", "app")
        client.uv("--target", str(client.home / "uv"), *arguments, f"{server.url}/wheels/", "app")
        with (wheels / f"wide-1.0-py3-none-{PLATFORM}.whl").open("ab") as file:
            file.write(b"more")

        said = client.pip(
            "--target", str(client.home / "no"), *arguments, f"{server.url}/wheels/", "wide", fails=True
        )

    assert "DO NOT MATCH THE HASHES" in said


def test_yanked_versions_are_not_chosen(server: Server, client: Client) -> None:
    """A version that its index had withdrawn is installed by its exact version only (PEP 592)."""
    index = ("--target", str(client.home / "into"), "--index-url", f"{server.url}/simple/{HERE}/")
    client.uv(*index, "gone", fails=True)

    assert 'broken & "withdrawn"' in client.pip(*index, "gone==1.0")


def test_pages_say_what_the_standards_ask_for(tree: Path) -> None:
    """HTML and JSON of a project name the same files, with hashes, Pythons and versions in order."""
    folder = tree / f"simple/{HERE}/lib-one"
    anchors = _Anchors((folder / "index.html").read_text()).found
    document = json.loads((folder / "index.json").read_text())

    assert document["meta"] == {"api-version": "1.1"}
    assert (document["name"], document["versions"]) == ("lib-one", ["1.0", "2.0+local.1"])
    assert list(anchors) == [file["filename"] for file in document["files"]]
    for file in document["files"]:
        anchor, path = anchors[file["filename"]], folder / file["url"].replace("%2B", "+")
        assert anchor["href"] == f"{file['url']}#sha256={file['hashes']['sha256']}"
        assert anchor["data-core-metadata"] == f"sha256={file['core-metadata']['sha256']}"
        assert "data-dist-info-metadata" not in anchor
        assert anchor.get("data-requires-python") == file.get("requires-python")
        assert path.stat().st_size == file["size"]
        assert "upload-time" not in file
        assert "yanked" not in file
    assert document["files"][1]["requires-python"] == ">=3.8,<4"


def test_the_index_over_all_targets_has_portable_wheels_only(tree: Path) -> None:
    """Wheels for the very system that made them are in the index of their target, not in the common one."""
    names = [one["name"] for one in json.loads((tree / "simple/all/index.json").read_text())["projects"]]

    assert names == ["app", "capital", "gone", "lib-one", "wide"]
    assert (tree / f"simple/{HERE}/native/index.html").is_file()


def test_hosts_with_some_targets_only_lack_nothing_shared(bench: Bench, tmp_path: Path, client: Client) -> None:
    """What several targets have is there for each of them, whatever other targets a host lacks."""
    shared, mine = bench.wheel("shared", "1.0"), bench.wheel("mine", "1.0", requires=["shared"])
    sets = (bench.set(HERE, shared, mine), bench.set("a-target-1", shared))
    root = bench.lay_out(tmp_path / "root", [HERE], *sets)

    for server in serving(root, negotiating=False):
        client.uv("--target", str(client.home / "into"), "--index-url", f"{server.url}/simple/all/", "mine")

    assert (client.home / "into/shared.py").is_file()
    assert not (root / f"{ROOT}/a-target-1").exists()


def test_same_wheels_give_the_same_bytes(bench: Bench) -> None:
    """Order and repetition of what goes in leave no trace; every path and link may be in a bundle."""
    one, two = bench.wheel("one", "1.0"), bench.wheel("two", "1.0")
    files, links = bench.entries(bench.set(HERE, one, two), bench.set(HERE, two, venv="again"))

    assert (files, links) == bench.entries(bench.set(HERE, two, one, venv="b"))
    assert all(check_path(file.path) for file in files)
    assert all(check_link(link.path, link.to) for link in links)


@pytest.mark.parametrize(
    ("filename", "portable"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", True),
        ("a-1-cp311-cp311-musllinux_1_2_aarch64.whl", True),
        ("a-1-cp311-cp311-linux_x86_64.whl", False),
        ("a-1-cp311-cp311-linux_x86_64.manylinux_2_39_x86_64.whl", False),
    ],
)
def test_portable_wheels(filename: str, portable: bool) -> None:
    """A wheel is portable if all of its platform tags are."""
    assert is_portable(filename) is portable
