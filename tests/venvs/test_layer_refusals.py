"""Wheels that cannot become layers: each is refused with its name and the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundler.errors import LayerError, ToolMissing
from bundler.model.target import Python
from bundler.venvs.make_layers import LayerRequest, make_layers

if TYPE_CHECKING:
    from tests.venvs.conftest import Bench, OddWheel


@pytest.mark.parametrize("path", ["../evil.py", "/etc/evil.py", "pkg/../../evil.py", "pkg//evil.py"])
def test_a_path_that_leaves_its_place_is_refused(bench: Bench, odd: type[OddWheel], path: str) -> None:
    """No member of a wheel lands outside the directory of its scheme."""
    with pytest.raises(LayerError, match=r"leaves its directory|absolute"):
        bench.layer(odd(name="evil", files={path: "x = 1\n"}))


@pytest.mark.parametrize(
    ("entry_points", "what"),
    [
        ("[console_scripts]\nx = evil\n", "names no callable"),
        ("[console_scripts]\nx = a b:c\n", "names no callable"),
        ("[console_scripts]\n../x = evil:main\n", "no file name"),
        ("[gui_scripts]\nx = evil:main;import os\n", "names no callable"),
    ],
)
def test_scripts_that_cannot_be_made_are_refused(
    bench: Bench, odd: type[OddWheel], entry_points: str, what: str
) -> None:
    """An entry point that is no module:function is reported with its wheel."""
    with pytest.raises(LayerError) as caught:
        bench.layer(odd(name="evil", entry_points=entry_points))

    (problem,) = caught.value.problems
    assert what in problem.what
    assert problem.where == "evil-1.0-py3-none-any.whl"


@pytest.mark.parametrize("text", ["no section\n", "[a]\nx = 1\nx = 2\n", "[console_scripts\n"])
def test_entry_points_that_do_not_parse_are_refused(bench: Bench, odd: type[OddWheel], text: str) -> None:
    """A malformed entry_points.txt is an error, not a traceback."""
    with pytest.raises(LayerError, match="does not parse"):
        bench.layer(odd(name="evil", entry_points=text))


def test_different_files_for_one_path_are_refused(bench: Bench, odd: type[OddWheel]) -> None:
    """A wheel whose schemes overlap must agree with itself."""
    files = {"x.py": "a = 1\n", "evil-1.0.data/platlib/x.py": "a = 2\n"}
    with pytest.raises(LayerError, match="two different files"):
        bench.layer(odd(name="evil", files=files))


def test_a_path_that_is_file_and_directory_is_refused(bench: Bench, odd: type[OddWheel]) -> None:
    """Such a wheel could not be unpacked."""
    with pytest.raises(LayerError, match="is a file and a directory"):
        bench.layer(odd(name="evil", files={"x": "1", "x/y.py": "2"}))


def test_all_bad_wheels_are_reported_together(bench: Bench, odd: type[OddWheel], python: Python) -> None:
    """One run names every wheel that cannot be made into a layer; good ones are kept for the next."""
    names = ("bad1", "good", "bad2")
    wheels = [bench.wheel(odd(name=name, files={"../x" if "bad" in name else "x.py": "1"})) for name in names]
    with pytest.raises(LayerError, match="2 wheels") as caught:
        make_layers(bench.store, [LayerRequest(wheel=wheel, python=python) for wheel in wheels])

    assert [problem.where for problem in caught.value.problems] == [wheels[0].filename, wheels[2].filename]
    assert bench.layer(wheels[1]).reused


@pytest.mark.parametrize("junk", [b"", b"not a zip", None])
def test_a_damaged_wheel_is_an_error(bench: Bench, odd: type[OddWheel], junk: bytes | None) -> None:
    """Bytes that are no wheel, or a cut one, give a message with the file's name."""
    path = odd(name="evil", files={"x.py": "x = 1\n" * 1000}).write(bench.folder.parent)
    path.write_bytes(path.read_bytes()[:200] if junk is None else junk)

    with pytest.raises(LayerError, match=r"evil-1\.0-py3-none-any\.whl cannot be installed"):
        bench.layer(bench.stored(path))


def test_another_python_version_is_refused(bench: Bench, odd: type[OddWheel], python: Python) -> None:
    """Bytecode of another patch version than the target's is never made."""
    wheel = bench.wheel(odd(name="one", files={"one.py": "x = 1\n"}))
    other = Python(full_version=f"{python.version}.999", executable=python.executable)

    with pytest.raises(LayerError, match=f"is Python {python.full_version}, but the target has"):
        make_layers(bench.store, [LayerRequest(wheel=wheel, python=other)])


def test_a_missing_interpreter_is_named_once(bench: Bench, odd: type[OddWheel]) -> None:
    """The error says what to install; that all wheels fail alike is not repeated."""
    wheels = [bench.wheel(odd(name=name, files={f"{name}.py": "x = 1\n"})) for name in ("one", "two")]
    gone = Python(full_version="3.99.1", executable="/usr/bin/python3.99")

    with pytest.raises(ToolMissing, match="not installed"):
        make_layers(bench.store, [LayerRequest(wheel=wheels[0], python=gone)])
    with pytest.raises(LayerError) as caught:
        make_layers(bench.store, [LayerRequest(wheel=wheel, python=gone) for wheel in wheels])
    assert len(caught.value.problems) == 1
