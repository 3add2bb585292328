"""Indexes, the role's files and seed packages on the repo hosts of a site: brought, checked, mended, told of."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.model.contents import LinkEntry, PackageEntry, SeedEntry
from bundler.workflows.site.check import CheckRequest, check
from bundler.workflows.site.osa_vars import OsaVarsRequest, osa_vars
from bundler.workflows.site.repair import RepairRequest, repair
from bundler.workflows.site.why import WhyRequest, why
from tests.bundles import DEBIAN, Sample, make_sample
from tests.deploy.scene import LINE, Scene
from tests.repotree.test_osa_vars import FACTS

TOP = f"os-releases/2026.1/{DEBIAN}"
KINDS = ("requirements", "global-constraints", "source-constraints", "constraints")
FOUR = {f"{TOP}/requirements/keystone-29.0.0-{kind}.txt": f"{kind}\n".encode() for kind in KINDS}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def release() -> Sample:
    """Return a release with an index, the four files of a venv, and a seed package."""
    sample = make_sample(1)
    for path, data in FOUR.items():
        sample.file(path, [data], DEBIAN)
    sample.file(f"{TOP}/simple/index.html", [b"the index"], DEBIAN)
    for path, to in (
        (f"{TOP}/simple/_wheels", "../wheels"),
        (f"simple/{DEBIAN}", f"../{TOP}/simple"),
    ):
        sample.links.append(LinkEntry(path=path, to=to, targets=(DEBIAN,)))
    return sample


@pytest.fixture
def url(scene: Scene) -> Iterator[str]:
    """Serve what host a has, and apply the release to it."""
    host = scene.local("a")
    handler = functools.partial(_Quiet, directory=host["root"])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        scene.site({**host, "url": address})
        pip = PackageEntry(name="pip", version="26", wheel="pip.whl", wheel_sha256="0" * 64, layers=(), kind="wheel")
        seeds = (SeedEntry(target=DEBIAN, packages=(pip,)),)
        bundle = scene.bundle(1, release(), seeds=seeds, openstack_ansible=(FACTS,))
        scene.apply(bundle).require_success()
        yield address
        server.shutdown()


def drift(scene: Scene, *, over_http: bool = False) -> list[tuple[str, str]]:
    (answer,) = check(CheckRequest(places=scene.places, http=over_http)).answers
    return [(one.kind, one.path) for one in answer.get()]


def test_repair_gives_back_what_a_failing_role_deleted(scene: Scene, url: str) -> None:
    """The four files that the role removes when a build fails are named, and come back; its own files stay."""
    root = scene.root("a")
    theirs = root / TOP / "requirements/utility-33.0.1-constraints.txt"
    theirs.write_text("six==1\n")
    for path in FOUR:
        (root / path).unlink()

    lost = drift(scene)
    repair(RepairRequest(places=scene.places)).require_success()

    assert lost == [("removed", path) for path in sorted(FOUR)]
    assert {path: (root / path).read_bytes() for path in FOUR} == FOUR
    assert theirs.read_text() == "six==1\n"
    assert drift(scene) == []


def test_links_to_indexes_are_served_and_checked(scene: Scene, url: str) -> None:
    """What the short name of an index leads to is fetched too: a server that follows no links is found out."""
    clean = drift(scene, over_http=True)
    link = scene.root("a") / "simple"
    link.unlink()

    assert clean == []
    assert ("removed", f"simple/{DEBIAN}/index.html") in drift(scene, over_http=True)


def test_a_site_tells_of_seed_packages_and_of_its_role(scene: Scene, url: str) -> None:
    """Why names the target that carries a seed package; osa-vars speaks of the release that is served."""
    found = why(WhyRequest(places=scene.places, package="pip"))

    assert [(one.use.venv, one.use.target) for one in found.origins] == [("seed packages", DEBIAN)]
    assert found.hosts[0].serves == (f"{LINE}-1",)
    assert osa_vars(OsaVarsRequest(places=scene.places)).bundle == f"{LINE}-1"
    assert Path(scene.root("a") / f"simple/{DEBIAN}/_wheels/pure-1.0+local-py3-none-any.whl").is_file()
