"""Which files of a wheel get bytecode."""

from __future__ import annotations

from bundler.venvs.bytecode import sources_of
from bundler.venvs.layer_tree import SITE, LayerFile
from bundler.venvs.spool import Slice


def test_a_package_s_own_tests_get_no_bytecode() -> None:
    """What lies below a directory called tests is left to whoever imports it; a module of that name is compiled."""
    paths = ["a/b.py", "a/tests/c.py", "a/tests/d/e.py", "tests.py", "a/testing/f.py", ".py", "a/g.txt"]
    content = Slice(offset=0, size=0, sha256=b"", native=False)
    files = [LayerFile(path=f"{SITE}/{path}", content=content, executable=False) for path in paths]

    found = [file.path.removeprefix(f"{SITE}/") for file in sources_of(files)]

    assert found == ["a/b.py", "tests.py", "a/testing/f.py"]
