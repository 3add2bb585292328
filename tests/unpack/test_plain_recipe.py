"""What the guide says for stock tools does what our commands do."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from tests.unpack.conftest import SHARED, Host, layer, serving, tree

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "venvs.md"
UNPACK, FACT, FORGET, BACK = re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def follow(recipe: str, where: Path, **settings: str | Path) -> None:
    """Run a recipe of the guide, its settings changed."""
    for key, value in settings.items():
        recipe, count = re.subn(rf"^{key}=.*$", f"{key}={shlex.quote(str(value))}", recipe, flags=re.MULTILINE)
        assert count == 1, f"{key} is not set once"
    subprocess.run(["sh", "-euc", recipe], check=True, cwd=where)


def unpacked(host: Host, *versions: int) -> Path:
    """Follow the first recipe for versions of nova; return where the venvs are."""
    venvs = host.root / "plain venvs"
    with serving(host.archives) as url:
        for version in versions:
            host.put(f"nova-{version}", SHARED, layer({"n.py": f"{version}"}))
            follow(UNPACK, host.root, repo=url, venv="nova", version=f"{version}", venvs=venvs)
            # Directories made within one tick of the clock have no order.
            os.utime(venvs / f"nova-{version}", (version, version))
    return venvs


def test_unpacking(host: Host) -> None:
    """The venv that is in use is the one that our command makes."""
    venvs = unpacked(host, 1, 2)

    assert str((venvs / "nova").readlink()) == "nova-2"
    assert tree(venvs / "nova-2") == tree(host.venvs / "nova-2")


def test_the_fact_is_written_if_it_differs(tmp_path: Path) -> None:
    """Other sections and options stay; the second time the file is not touched."""
    facts = tmp_path / "facts.d" / "openstack_ansible.fact"
    follow(FACT, tmp_path, facts=facts, venv="nova", version="1")
    facts.write_text(facts.read_text() + "need_db = True\n\n[glance]\nvenv_tag = 7\n")
    follow(FACT, tmp_path, facts=facts, venv="nova", version="2")
    before = facts.stat()
    follow(FACT, tmp_path, facts=facts, venv="nova", version="2")

    assert facts.read_text().split() == [
        "[nova]",
        "venv_tag",
        "=",
        "2",
        "need_db",
        "=",
        "True",
        "[glance]",
        "venv_tag",
        "=",
        "7",
    ]
    assert facts.stat().st_ino == before.st_ino


def test_old_ones_go_and_one_comes_back(host: Host) -> None:
    """Two old ones stay, and venvs whose names begin alike; one of the two is gone back to."""
    venvs = unpacked(host, 1, 2, 3, 4)
    (venvs / "nova-api-1").mkdir()
    follow(FORGET, host.root, venv="nova", venvs=venvs)
    follow(BACK, host.root, venv="nova", version="2", venvs=venvs)

    assert {path.name for path in venvs.iterdir()} == {"nova", "nova-2", "nova-3", "nova-4", "nova-api-1"}
    assert str((venvs / "nova").readlink()) == "nova-2"
