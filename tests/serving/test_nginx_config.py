"""`bundle-install nginx-config`: what it is made from, and that nginx takes it."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bundler.errors import UsageError
from bundler.events import ignore
from bundler.serving.listen import parse_listen
from bundler.serving.nginx import nginx_config
from bundler.serving.nginx_options import Cache, NginxOptions
from bundler.serving.root import Root
from bundler.serving.server import Server, tls_context
from tests.serving.trees import (
    BASE,
    FOO,
    JSON,
    RELEASE,
    TARGET,
    TinyWheel,
    Upstream,
    put,
    release_files,
    release_links,
    running,
)
from tests.serving.web import HAS_NGINX, frame, free_port, nginx

needs_nginx = pytest.mark.skipif(not HAS_NGINX, reason="nginx is not installed")
_SITE = """\
name: demo
ssh: {known_hosts: /dev/null}
targets: [debian-12-x86_64, ubuntu-24.04-x86_64]
repo_hosts:
  - {name: one, address: 192.0.2.1, root: /srv/one}
  - {name: two, address: 192.0.2.2, root: /srv/two}
"""


def run(config: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    words = [
        str(Path(sys.executable).parent / "bundle-install"),
        "nginx-config",
        "--config-dir",
        str(config),
        *arguments,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    return done


@needs_nginx
@pytest.mark.parametrize(
    "options",
    [
        NginxOptions(),
        NginxOptions(listen=("127.0.0.1:8181", "[::1]:8181", "*:8182"), server_name="repo repo.example *.example"),
        NginxOptions(certificate="{crt}", key="{key}"),
        NginxOptions(root="/srv/a b;{c}'#d", upstreams=("https://localhost",), ca="{crt}"),
        NginxOptions(
            upstreams=("https://index.invalid/root/+simple/", "http://192.0.2.1:81/simple"),
            files=("https://files.invalid/", "http://[2001:db8::1]/x"),
            resolver="127.0.0.1 [::1]:5353",
            ca="{crt}",
            targets=(TARGET,),
        ),
    ],
    ids=["plain", "addresses", "tls", "odd-root", "resolver"],
)
def test_nginx_takes_it(tmp_path: Path, certificate: tuple[Path, Path], options: NginxOptions) -> None:
    """Whatever the options, nginx itself finds nothing wrong with the configuration, not even to warn of."""
    names = {"{crt}": str(certificate[0]), "{key}": str(certificate[1])}
    changed = {name: names.get(value, value) for name, value in vars(options).items() if isinstance(value, str)}
    cache = Cache(path=str(tmp_path / "cache"))
    path = frame(tmp_path / "nginx", nginx_config(NginxOptions(**{**vars(options), **changed, "cache": cache})))

    done = subprocess.run(["nginx", "-t", "-c", path, "-p", path.parent], capture_output=True, text=True, check=False)

    said = done.stderr.splitlines() + (path.parent / "error.log").read_text().splitlines()
    assert done.returncode == 0, said
    assert not [line for line in said if "[warn]" in line or "[emerg]" in line]


@needs_nginx
def test_https_and_a_root_with_an_odd_name(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """With a certificate nginx serves https, from a root whatever its name."""
    root = tmp_path / "a b;{c}'#d"
    put(root, release_files(*RELEASE), release_links())
    crt, key = certificate
    listen = f"127.0.0.1:{free_port()}"

    with nginx(
        tmp_path / "nginx", NginxOptions(root=str(root), listen=(listen,), certificate=str(crt), key=str(key))
    ):
        context = ssl.create_default_context(cafile=str(crt))
        connection = http.client.HTTPSConnection(listen, timeout=30, context=context)
        connection.request("GET", f"/{BASE}/wheels/{FOO.filename}")
        body = connection.getresponse().read()
        connection.close()

    assert body == FOO.data


@needs_nginx
@pytest.mark.parametrize(("trusted", "status"), [(True, 200), (False, 502)])
def test_an_index_behind_is_known_by_its_certificate(
    tmp_path: Path, certificate: tuple[Path, Path], *, trusted: bool, status: int
) -> None:
    """What is behind is asked by https only if a CA that was named vouches for it; the release stays as it is."""
    front, behind = tmp_path / "front", tmp_path / "behind"
    put(front, release_files(*RELEASE), release_links())
    put(behind, release_files(TinyWheel("extra", "2.0")), release_links())
    crt, key = certificate
    other = Path("/etc/ssl/certs/ca-certificates.crt")
    if not trusted and not other.is_file():
        pytest.skip("this host has no CAs")
    with Server(Root(behind), parse_listen("127.0.0.1:0"), ignore, tls_context(crt, key)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        options = NginxOptions(
            root=str(front),
            listen=(f"127.0.0.1:{free_port()}",),
            upstreams=(f"{server.url}simple/{TARGET}/".replace("127.0.0.1", "localhost"),),
            ca=str(crt if trusted else other),
            cache=Cache(path=str(tmp_path / "cache")),
        )
        with nginx(tmp_path / "nginx", options) as site:
            got = site.get(site.get(f"/simple/{TARGET}/extra/").fields["location"], Accept=JSON)
        server.stop()
        thread.join()

    assert got.status == status
    if trusted:
        assert json.loads(got.body)["name"] == "extra"


@needs_nginx
@pytest.mark.parametrize("top", ["", "/deep/+er"])
def test_an_index_may_lie_anywhere(tmp_path: Path, top: str) -> None:
    """The simple API behind may begin at the root of its host, or deep below: pages and files are found."""
    put(tmp_path / "www", release_files(*RELEASE), release_links())
    wheel = TinyWheel("extra", "2.0")
    with running(Upstream()) as upstream:
        upstream.add(wheel, folder="../../packages" if top else "../a/b")
        upstream.pages[f"{top}/extra/"] = upstream.pages.pop("/simple/extra/")
        folder = "/deep/packages" if top else "/a/b"
        upstream.files[f"{folder}/{wheel.filename}"] = wheel.data
        options = NginxOptions(
            root=str(tmp_path / "www"),
            listen=(f"127.0.0.1:{free_port()}",),
            upstreams=(f"{upstream.url}{top}",),
            # With a name server, addresses are looked up at each request; this one needs none.
            resolver="127.0.0.1" if top else "",
            cache=Cache(path=str(tmp_path / "cache")),
        )
        with nginx(tmp_path / "nginx", options) as site:
            page = site.get(f"/simple/{TARGET}/Extra/").fields["location"]
            got = site.get(page, Accept=JSON)
            file = site.get(f"/upstream/1{folder}/{wheel.filename}")

    assert page == f"/upstream/1{top}/extra/"
    assert (got.status, file.status, file.body) == (200, 200, wheel.data)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """What nginx would read as something else, or anybody could read, is refused: each option by its name."""
    wrong = {
        "--root": "relative",
        "--cache": "/var/$x",
        "--tls-cert": '/a"b',
        "--listen": "8181; }",
        "--server-name": "a;b",
        "--cache-size": "lots",
        "--cache-pages": "often",
        "--resolver": "1.1.1.1;",
        "--upstream": "https://user:secret@index.example/simple/",
        "--upstream-files": "ftp://files.example/",
        "--target": "../x",
    }

    done = run(tmp_path, *(word for pair in wrong.items() for word in pair), status=2)

    assert [option for option in wrong if f"  {option}: " not in done.stderr] == []
    assert "secret" not in done.stderr


def test_the_site_says_what_was_not_said(tmp_path: Path) -> None:
    """Root and targets come from site.yaml; where hosts differ, one that is there has to be named."""
    (tmp_path / "site.yaml").write_text(_SITE)

    one = run(tmp_path, "--host", "one", "--upstream", "http://192.0.2.9/simple/").stdout
    said = run(tmp_path, "--host", "one", "--root", "/srv/x").stdout
    differ = run(tmp_path, status=2).stderr
    unknown = run(tmp_path, "--host", "three", status=2).stderr

    assert 'root "/srv/one";' in one
    assert "/simple/ubuntu-24.04-x86_64/$bundle_project" in one
    assert 'root "/srv/x";' in said
    assert "/srv/one, /srv/two" in differ
    assert "one, two" in unknown


def test_unknown_targets_are_warned_of(tmp_path: Path) -> None:
    """With an index behind and no target known, what might slip through is said, on stderr."""
    behind = ("--upstream", "http://192.0.2.9/simple/")

    assert "no targets are known" in run(tmp_path, *behind).stderr
    assert run(tmp_path, *behind, "--target", TARGET).stderr == ""


def test_it_is_printed_or_written(tmp_path: Path) -> None:
    """Without a site it is for the usual root; --out writes the same text, --json carries it."""
    printed = run(tmp_path).stdout
    run(tmp_path, "--out", str(tmp_path / "x.conf"))

    assert 'root "/var/www/repo";' in printed
    assert (tmp_path / "x.conf").read_text() == printed
    assert json.loads(run(tmp_path, "--json").stdout)["configuration"] == printed


def test_files_need_an_index_that_leads_there() -> None:
    """Hosts of files without an index are a mistake, and https to an address is one nginx could not check."""
    with pytest.raises(UsageError) as caught:
        nginx_config(NginxOptions(files=("http://192.0.2.1/", "https://[2001:db8::1]/")))

    assert [problem.where for problem in caught.value.problems] == ["--upstream-files"] * 2
