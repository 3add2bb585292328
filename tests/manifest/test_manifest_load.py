"""Loading: YAML, includes, deprecated names, digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.errors import ManifestError
from bundler.model.manifest_load import LoadedManifest, load_manifest
from bundler.model.manifest_tree import MAX_BYTES

Load = Callable[..., LoadedManifest]
Problems = Callable[..., list[str]]
MAIN = """\
schema: 1
include: [{include}]
release: {{name: r, version: 2026.10}}
venvs:
  a:
    path: /v/a-1
"""


def test_numbers_stay_what_was_written(load: Load) -> None:
    """An unquoted version keeps its trailing zero, and numbers still become numbers where they are wanted."""
    found = load("""\
schema: 1
release: {name: r, version: 2026.10, sequence: 12}
proof: {allow_unproved: yes}
build: {packages: {x: {env: {N: 08, Y: on}}}}
venvs: {a: {path: /v/a, packages: [x]}}
""").manifest

    assert (found.release.version, found.release.sequence) == ("2026.10", 12)
    assert found.proof.allow_unproved is True
    assert found.build.packages["x"].env == {"N": "08", "Y": "on"}


def test_anchors_aliases_and_merge_keys_work(load: Load) -> None:
    """A merge key takes what the mapping does not give itself; of several sources the first wins."""
    found = load("""\
schema: 1
release: {name: r, version: "1"}
x-anchors:
  first: &first {packages: [one], python: "3.11"}
  second: &second {packages: [two], enable: [g], groups: {g: [three]}}
venvs:
  a: {<<: [*first, *second], path: /v/a}
  b: {<<: *second, path: /v/b, packages: [own]}
""").manifest

    assert found.venvs["a"].packages == ("one",)
    assert found.venvs["a"].enable == ("g",)
    assert found.venvs["b"].packages == ("own",)


def test_includes_merge_deeply_and_the_including_file_wins(load: Load) -> None:
    """Mappings merge key by key; a later file wins over an earlier one, and the including file over both."""
    one = "venvs: {a: {path: /lost, packages: [one], python: '3.11'}}\nresolver: pip\n"
    two = "venvs: {a: {packages: [two]}, b: {path: /v/b, packages: [b]}}\n"

    found = load(MAIN.format(include="one.yaml, two.yaml"), one=one, two=two)

    venvs = found.manifest.venvs
    assert (venvs["a"].path, venvs["a"].packages, venvs["a"].python) == ("/v/a-1", ("two",), "3.11")
    assert (list(venvs), found.manifest.resolver) == (["a", "b"], "pip")
    assert found.files == (Path("m.yaml"), Path("one.yaml"), Path("two.yaml"))


def test_includes_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    """A file in a subdirectory includes its neighbour by its bare name."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "m.yaml").write_text(MAIN.format(include="shared/one.yaml"))
    (tmp_path / "shared" / "one.yaml").write_text("include: [two.yaml]\n")
    (tmp_path / "shared" / "two.yaml").write_text("venvs: {a: {packages: [deep]}}\n")

    found = load_manifest(tmp_path / "m.yaml", Path.read_bytes)

    assert found.manifest.venvs["a"].packages == ("deep",)
    assert found.root == tmp_path


def test_a_problem_in_an_included_file_names_that_file(problems: Problems) -> None:
    """The place of a problem is the file and line where the value was written, also after merging."""
    found = problems(MAIN.format(include="one.yaml"), one="venvs:\n  a:\n    packages:\n      - ok\n      - 'a b'\n")

    assert len(found) == 1
    assert found[0].startswith("one.yaml:5: venvs.a.packages[1]: 'a b' is no PEP 508 requirement")


def test_missing_and_circular_includes_are_reported_together(problems: Problems) -> None:
    """Each include that cannot be followed is a problem at its own line."""
    found = problems(
        "include:\n  - gone.yaml\n  - one.yaml\n" + MAIN.replace("include", "x-anchors"), one="include: [m.yaml]"
    )

    assert "m.yaml:2: include[0]: 'gone.yaml' cannot be read: No such file or directory" in found
    assert "one.yaml:1: include[0]: 'm.yaml' includes itself: m.yaml → one.yaml → m.yaml" in found


def test_one_file_included_twice_is_no_cycle(load: Load) -> None:
    """Two files may share a third."""
    shared = "venvs: {a: {packages: [shared]}}"

    found = load(
        MAIN.format(include="one.yaml, two.yaml"),
        one="include: [three.yaml]",
        two="include: [three.yaml]",
        three=shared,
    )

    assert found.manifest.venvs["a"].packages == ("shared",)


def test_a_missing_manifest_is_a_problem(tmp_path: Path) -> None:
    """A manifest that does not exist is named, without a traceback."""
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path / "none.yaml", Path.read_bytes)

    assert "none.yaml cannot be read: No such file" in str(caught.value.problems[0])


def test_deprecated_names_work_with_a_warning(load: Load) -> None:
    """Old names are taken as today's, and a warning names place and new name."""
    found = load("""\
schema: 1
release: {name: r, version: "1"}
find_links: [wheels]
constraint_layers:
  - {name: user, lines: [x<2]}
venvs:
  a:
    install_path: /v/a
    requirements: [x]
""")

    venv = found.manifest.venvs["a"]
    assert (venv.path, venv.packages, found.manifest.wheel_folders) == ("/v/a", ("x",), ("wheels",))
    assert found.manifest.constraints[0].name == "user"
    assert "m.yaml:8: venvs.a.install_path is deprecated (write path)" in found.warnings
    assert len(found.warnings) == 4


def test_old_and_new_name_together_are_a_problem(wrong: Callable[[str], list[str]]) -> None:
    """Who writes both names is asked to remove one, rather than one being dropped."""
    found = wrong("    install_path: /v/b\n")

    assert found == ["m.yaml:8: venvs.a.install_path: is the old name of path, which is given too (remove one)"]


def test_the_digest_covers_all_files_and_no_location(tmp_path: Path) -> None:
    """The digest changes with any file read, and stays when the directory moves."""
    digests = []
    for place, packages in (("one", "x"), ("two", "x"), ("three", "y")):
        root = tmp_path / place
        root.mkdir()
        (root / "m.yaml").write_text(MAIN.format(include="i.yaml"))
        (root / "i.yaml").write_text(f"venvs: {{a: {{packages: [{packages}]}}}}")
        digests.append(load_manifest(root / "m.yaml", Path.read_bytes).digest)

    assert digests[0] == digests[1] != digests[2]


def test_a_manifest_larger_than_the_limit_is_refused(problems: Problems) -> None:
    """More than 1 MiB is not even parsed."""
    assert problems(b"#" * (MAX_BYTES + 1)) == [f"m.yaml: larger than {MAX_BYTES} bytes (split it with include:)"]


def test_aliases_cannot_grow_without_bound(problems: Problems) -> None:
    """The doubling of doublings of a list through aliases is stopped."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert "aliases expand to more than" in problems("\n".join(lines))[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [*x]", "contains itself"),
        ("[" * 5000, "nested deeper"),
        ("{a: " * 5000, "nested deeper"),
        ("a: !!python/object:os.system x", "tag !!python/object:os.system is not supported"),
        ("a: !!binary eA==", "tag !!binary is not supported"),
        ("a: 1\n\tb: 2", "m.yaml:2: not YAML"),
        ("a: *gone", "undefined alias"),
        ("{a: 1", "m.yaml:1: not YAML"),
        ("", "the file is empty"),
        ("--- 1\n--- 2\n", "another document"),
        ("- a", "a manifest is a mapping"),
        ("? [a, b]\n: c", "a key must be a plain text"),
    ],
)
def test_unusable_yaml_is_one_clear_problem(problems: Problems, text: str, said: str) -> None:
    """Syntax errors, unknown tags, cycles and depth are problems with a place, never tracebacks."""
    assert said in " ".join(problems(text))


def test_bytes_that_are_no_text_are_a_problem(problems: Problems) -> None:
    """A manifest that is not UTF-8 is refused in words."""
    assert "UTF-8" in problems(b"schema: 1 \xff\xfe\x00")[0]


def test_byte_order_mark_and_crlf_are_accepted(load: Load) -> None:
    """A file from a Windows editor loads like any other."""
    text = 'schema: 1\r\nrelease: {name: r, version: "1"}\r\nvenvs: {a: {path: /v/a, packages: [x]}}\r\n'

    assert load(b"\xef\xbb\xbf" + text.encode()).manifest.venvs["a"].packages == ("x",)


def test_an_included_file_may_speak_of_targets_that_are_not_listed(load: Load, problems: Problems) -> None:
    """A shared file serves releases with fewer targets; what is no target at all is a problem there too."""
    main = "targets: [debian-13-x86_64]\n" + MAIN.format(include="one.yaml")
    one = "venvs: {{a: {{packages: [x], targets: {{{key}: {{skip: true}}}}}}}}\n"

    found = load(main, one=one.format(key="debian-12-aarch64"))

    assert found.manifest.venvs["a"].targets["debian-12-aarch64"].skip
    assert "no listed target" in " ".join(problems(main, one=one.format(key="debian-12-aarch46")))
