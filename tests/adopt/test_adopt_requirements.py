"""Adopting requirements files and freezes: what becomes of each kind of line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.model.adopt import Adopted, manifest_text
from bundler.model.adopt_requirements import RequirementsReader
from bundler.model.manifest_load import load_manifest

BASE = Path("/project")


def adopted(files: dict[str, str | bytes], base: Path = BASE) -> Adopted:
    """Adopt ``requirements.txt`` among ``files``, which lie below /project."""
    contents = {BASE / name: data.encode() if isinstance(data, str) else data for name, data in files.items()}

    def read(path: Path) -> bytes:
        if path not in contents:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return contents[path]

    reader = RequirementsReader(read=read, base=base)
    reader.file(BASE / "requirements.txt")
    return reader.finish()


def lines(text: str) -> Adopted:
    return adopted({"requirements.txt": text})


def test_nested_files_and_constraints_are_carried_over() -> None:
    """-r files are taken in, -c files become layers in order, all relative to the file that names them."""
    found = adopted(
        {
            "requirements.txt": "-r sub/base.txt\nnova==33.0.1\n-chttps://files.example/upper.txt\n",
            "sub/base.txt": "six  # small\n--constraint=uc.txt\n-c uc.txt\n",
            "sub/uc.txt": "six===1.17.0\n",
        },
        base=BASE / "out",
    )

    assert found.problems == []
    assert found.packages == ["six", "nova==33.0.1"]
    assert found.layers == [
        {"name": "uc", "file": "../sub/uc.txt"},
        {"name": "upper", "url": "https://files.example/upper.txt"},
    ]


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("keystone[ldap]>=29,<30 ; python_version > '3.9'", "keystone[ldap]>=29,<30 ; python_version > '3.9'"),
        ("-e git+https://git.example/n@abc1234#egg=nova", "nova @ git+https://git.example/n@abc1234"),
        ("nova @ git+https://git.example/n@abc1234", "nova @ git+https://git.example/n@abc1234"),
        ("https://files.example/a_b-1.0-py3-none-any.whl", "a-b @ https://files.example/a_b-1.0-py3-none-any.whl"),
        ("https://files.example/ab-1.0.tar.gz#sha256=00", "ab @ https://files.example/ab-1.0.tar.gz#sha256=00"),
        ("-e ./tree[x]", "My.Tree[x] @ ./tree"),
        ("./old ; os_name=='posix'", "old-tree @ ./old ; os_name=='posix'"),
        ("tree @ file:///project/tree", "tree @ ./tree"),
        ("./files/ab-1.0.tar.gz", "ab @ ./files/ab-1.0.tar.gz"),
    ],
)
def test_a_requirement_becomes_a_package(line: str, package: str) -> None:
    """Names, direct references, editables and local trees become requirements that a manifest may hold."""
    found = adopted(
        {
            "requirements.txt": line,
            "tree/pyproject.toml": '[project]\nname = "My.Tree"\n',
            "old/setup.cfg": "[metadata]\nname = old-tree\n",
        }
    )

    assert found.problems == []
    assert found.packages == [package]


@pytest.mark.parametrize(
    "line", ["./files/ab-1.0-py3-none-any.whl", "ab @ file:///project/files/ab-1.0-py3-none-any.whl"]
)
def test_a_local_wheel_becomes_a_pin_and_a_folder(line: str) -> None:
    """A wheel beside the requirements is pinned, and its folder listed."""
    found = lines(line)

    assert (found.packages, found.wheel_folders) == (["ab==1.0"], ["files"])


def test_hashes_are_dropped_with_a_note() -> None:
    """Hashes and --require-hashes are left out, and it is said that the lock has them."""
    found = lines("--require-hashes\nsix==1.17.0 \\\n  --hash=sha256:aa \\\n  --hash sha256:bb\n")

    assert found.packages == ["six==1.17.0"]
    assert [str(note) for note in found.notes] == [
        "requirements.txt:1: --require-hashes is left out (the lock records the hash of every file)",
        "2 hashes are left out (the lock records the hash of every file)",
    ]


def test_indexes_are_carried_over_without_credentials() -> None:
    """Index options become indexes; a password in one is left out and never repeated."""
    found = lines("--extra-index-url https://more.example/simple\n-i https://me:hunter2@index.example/simple\nsix\n")

    assert found.indexes == [
        {"name": "main", "url": "https://index.example/simple"},
        {"name": "extra-1", "url": "https://more.example/simple"},
    ]
    assert "hunter2" not in str(found)


def test_utf16_and_freeze_output_are_read() -> None:
    """What PowerShell writes, and what pip freeze says of editable installs, is understood."""
    text = "# Editable install with no version control (tree==1.0)\r\n-e /project/tree\r\nsix==1.17.0\r\n"
    files: dict[str, str | bytes] = {
        "requirements.txt": text.encode("utf-16"),
        "tree/pyproject.toml": '[project]\nname = "tree"\n',
    }

    assert adopted(files).packages == ["tree @ ./tree", "six==1.17.0"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--pre", "the option --pre"),
        ("--find-links https://files.example/", "copy the files"),
        ("-r https://files.example/r.txt", "not fetched"),
        ("-r gone.txt", "cannot read gone.txt: No such file"),
        ("-r requirements.txt", "includes itself"),
        ("-c gone.txt", "cannot read gone.txt"),
        ("-c bad.txt", "bad.txt:1: 'a=1' is no constraint"),
        ("-c https://me:pw@files.example/c.txt", "credentials"),
        ("-e ./nowhere", "does not say which package"),
        ("git+https://git.example/nova@abc", "egg=name"),
        ("https://files.example/download", "does not say which package"),
        ("./x.whl", "no wheel's file name"),
        ("six=1", "=="),
        ("six --config-settings=a=b", "the option --config-settings"),
        ("six==${V}", "not filled in"),
        ("--index-url", "no value"),
        ("-e 'x", "does not parse"),
        ("--extra-index-url https://more.example/simple", "without --index-url"),
    ],
)
def test_what_cannot_be_carried_over_is_named_with_its_line(line: str, message: str) -> None:
    """Each thing that a manifest has no place for is listed; the other lines are still read."""
    found = adopted({"requirements.txt": f"ok\n{line}\n", "bad.txt": "a=1\n"})

    assert any(message in str(problem) for problem in found.problems)
    assert all(problem.where in ("", "requirements.txt:2", "bad.txt:1") for problem in found.problems)
    assert found.packages == ["ok"]


WORDS = [
    *("six", "==1", "-r ", "-c ", "-e ", "git+https://git.example/x", "#egg=x", " --hash=sha256:00", " ; ", "'"),
    *("python_version", "\n", "./", ".whl", "[x]", " @ ", "file:", "//", "a-1-py3-none-any", "=", "é", "\\\n"),
    "requirements.txt",
]


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=15).map("".join)))
def test_any_text_is_adopted_or_refused(text: str) -> None:
    """No file makes the reader fail, and what it accepts alone is a valid manifest."""
    found = lines(text)
    if not found.packages:
        return

    document = manifest_text(found, name="r", version="1", origin="requirements.txt")
    loaded = load_manifest(BASE / "m.yaml", lambda _: document.encode())

    assert list(loaded.manifest.venvs["r"].packages) == found.packages
