"""Relocatable scripts, run by a real shell and a real Python."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.errors import LayerError
from bundler.venvs.scripts import data_script, entry_point_script, must_keep_bytes

SHOW = b"import sys\nprint(__name__, sys.argv, __doc__, __file__)\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with a difficult name and a ``python`` inside."""
    folder = tmp_path / "a b'c\"$d" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to("/usr/bin/python3")
    return folder


def _put(place: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (place / name).write_bytes(data)
        (place / name).chmod(0o644 if name.startswith(".") else 0o755)


def test_an_entry_point_is_called_with_its_arguments(place: Path, call: Callable[..., str]) -> None:
    """The script of an entry point hands arguments on as they are and exits with what is returned."""
    (place / "tool.py").write_text(
        "import sys\nclass App:\n    def run():\n        print(sys.argv[1:])\n        return 3\n"
    )
    _put(place, {"tool": entry_point_script("tool", "App.run")})

    assert call(place / "tool", "a b", "", "$x", "*", check=False).strip() == "['a b', '', '$x', '*']"
    assert call("sh", "-c", '"$0"; echo "status $?"', place / "tool").endswith("status 3\n")


def test_a_script_is_found_through_links_and_from_path(place: Path, tmp_path: Path, call: Callable[..., str]) -> None:
    """argv[0] is what was called, and python is the one beside the real file."""
    _put(place, data_script("show", b"#!python\n" + SHOW))
    link = tmp_path / "link to show"
    link.symlink_to(place / "show")
    (tmp_path / "chain").symlink_to(link.name)

    assert str([str(tmp_path / "chain")]) in call(tmp_path / "chain")
    assert str([str(link)]) in call(link)
    assert "show" in call("show", PATH=f"{place}:/usr/bin:/bin")
    assert str(["./show"]) in call("./show", cwd=place)


def test_a_python_script_keeps_its_rest(place: Path) -> None:
    """Only the first line of an ordinary script is replaced."""
    files = data_script("show", b"#!python\n" + SHOW)

    assert list(files) == ["show"]
    assert files["show"].startswith(b"#!/bin/sh\n'''exec' ")
    assert files["show"].endswith(b"\n" + SHOW)


@pytest.mark.parametrize("line", ["#!python", "#!pythonw", "#!python3", "#!python3.11", "#!python\r", "#!python "])
def test_all_spellings_of_python_are_taken(place: Path, call: Callable[..., str], line: str) -> None:
    """Whatever Python the wheel names, it is the one of the venv."""
    _put(place, data_script("show", line.encode() + b"\n" + SHOW))

    assert call(place / "show", "x").startswith("__main__ ")


def test_arguments_of_the_interpreter_are_kept(place: Path, call: Callable[..., str]) -> None:
    """Options after ``#!python`` reach Python, before the script."""
    code = b"import sys\nprint(sys.flags.ignore_environment, sys.dont_write_bytecode, sys.argv[1:])\n"
    _put(place, data_script("show", b"#!python -E -B\n" + code))

    assert call(place / "show", "y") == "1 True ['y']\n"


def test_arguments_that_a_shell_would_read_are_refused() -> None:
    """Nothing of a wheel is ever interpreted by a shell."""
    with pytest.raises(LayerError, match="begins with"):
        data_script("x", b"#!python -c 'import os;'\n")


@pytest.mark.parametrize(
    ("rest", "shown"),
    [
        (b'"""What it does."""\n' + SHOW, "What it does."),
        (b'# note\n\nr"""Raw."""\nfrom __future__ import annotations\n' + SHOW, "Raw."),
        (b"from __future__ import annotations\n" + SHOW, "None"),
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\nassert len(x) == 1\n" + SHOW, "None"),
        (b"#!python\n'bytes of \xff'\n", None),
    ],
)
def test_scripts_that_cannot_be_changed_keep_their_bytes(
    place: Path, call: Callable[..., str], rest: bytes, shown: str | None
) -> None:
    """A docstring, a future import or an encoding stays in force: the script lies beside its launcher, untouched."""
    data = b"#!python\n" + rest
    files = data_script("show", data)

    assert sorted(files) == [".show.py", "show"]
    assert files[".show.py"] == data
    if shown is not None:
        _put(place, files)
        out = call(place / "show", "z")
        assert out.strip() == f"__main__ {[str(place / 'show'), 'z']} {shown} {place / 'show'}"


def test_a_traceback_of_a_kept_script_shows_its_lines(place: Path, call: Callable[..., str]) -> None:
    """A failure points into the script that the wheel brought."""
    _put(place, data_script("fail", b'#!python\n"""Doc."""\nraise ValueError("here")\n'))

    out = call(place / "fail", check=False)
    assert f'File "{place / ".fail.py"}", line 3' in out
    assert 'raise ValueError("here")' in out


def test_a_kept_script_has_no_names_of_its_launcher(place: Path, call: Callable[..., str]) -> None:
    """A script that lists its globals finds only its own."""
    _put(place, data_script("names", b'#!python\n"""D."""\nprint([n for n in dir() if not n.startswith("__")])\n'))

    assert call(place / "names") == "[]\n"


def test_a_moved_script_finds_its_new_python(place: Path, call: Callable[..., str]) -> None:
    """Scripts hold no path."""
    _put(place, data_script("show", b"#!python\nimport sys\nprint(sys.executable)\n"))
    moved = place.with_name("moved")
    shutil.move(place, moved)

    assert call(moved / "show").strip() == str(moved / "python")


@pytest.mark.parametrize(
    ("rest", "kept"),
    [
        (b"", False),
        (b"# only a comment\n", False),
        (b"import os\n'''later'''\n", False),
        (b"from __future__ import x\n", True),
        (b"from os import path\n", False),
        (b"b'bytes' \n", True),
        (b"print 'python 2'\n", False),
        (b"x = '\xff'\n", True),
        (b"'''never closed\n", True),
        (b"if x:\n  y\n z\n", False),
    ],
)
def test_what_must_keep_its_bytes(rest: bytes, *, kept: bool) -> None:
    """What comes first decides."""
    assert must_keep_bytes(rest) is kept
