"""Build `bundle-install`: the air-gapped half as one file that starts on every CPython 3.10 to 3.14.

A pex for several platforms, which makes itself a venv in the user's cache at its first start (a third of the start
time afterwards): our own modules that `bundler.cli.install` reaches, and the wheels of
``installer_requirements.txt`` (exact versions with hashes) for each platform. pex puts the file together; the wheels
are chosen and fetched here, once for all platforms, where pex would start pip for each of them. Built once for each
content and cached in the store.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.clock import stopwatch
from bundler.errors import BundlerError, CommandFailed, EnvironmentProblem
from bundler.events import Emit, StageFinished, StageStarted
from bundler.files import sha256_of
from bundler.model.index import IndexConfig
from bundler.model.target import Python, Target, make_target
from bundler.process import Command, run
from bundler.store.cas import Blob, Store, key_of
from bundler.workflows.installer_wheels import carried_tags, fetch_wheels, place, read_pins

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
ARCHES = ("x86_64", "aarch64")
#: The newest glibc whose wheels are accepted: that of the oldest distribution we install on (Debian 11).
GLIBC = (2, 31)
PROJECT = "offline-bundler"
ENTRY_POINT = "bundler.cli.install"
COMMANDS = "bundler.cli.site"
REQUIREMENTS = Path(__file__).with_name("installer_requirements.txt")
#: What our dependencies ask for and nothing of ours reaches: colours for source code, Markdown, a task runner.
LEFT_OUT = ("invoke", "markdown-it-py", "mdurl", "pygments")
#: A fixed date, so that the same content gives the same file: zip's oldest.
EPOCH = "315532800"
#: Of the way the file is made; a change builds it anew.
RECIPE = 4


def own_modules(start: str, root: Path) -> tuple[Path, ...]:
    """Return the files of module ``start`` and of every module of ours that it imports, directly or not.

    ``root`` is the directory that holds the package ``bundler``. The commands, which are found by file, count as
    imported; data files beside a module, or in ``data`` beside it, go along.
    """
    found: set[Path] = set()
    waiting = [start, *(f"{COMMANDS}.{path.stem}" for path in root.joinpath(*COMMANDS.split(".")).glob("*.py"))]
    while waiting:
        name = waiting.pop()
        path = _module_file(name, root)
        if path is None or path in found:
            continue
        found.add(path)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        waiting += _imports(path)
    data = {
        file
        for parent in {path.parent for path in found}
        for pattern in ("py.typed", "data/*.sh", "data/*.tmpl")
        for file in parent.glob(pattern)
    }
    return tuple(sorted(found | data))


def _module_file(name: str, root: Path) -> Path | None:
    base = root.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("bundler"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bundler"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def platforms(pythons: Sequence[str] = PYTHONS, arches: Sequence[str] = ARCHES) -> tuple[Target, ...]:
    """Return the platforms that `bundle-install` starts on."""
    return tuple(
        make_target("linux", "0", arch, Python(full_version=f"{one}.0", executable=f"/usr/bin/python{one}"), GLIBC)
        for one in pythons
        for arch in arches
    )


def complete_platform(target: Target) -> str:
    """Return the JSON document that pex wants for an interpreter that is not here."""
    tags = [str(tag) for tag in carried_tags(target)]
    return json.dumps({"marker_environment": target.markers, "compatible_tags": tags}, sort_keys=True)


def build_installer(store: Store, indexes: IndexConfig, emit: Emit) -> Blob:
    """Return the blob of `bundle-install`, building it if this content was never built.

    Raises:
        EnvironmentProblem: pex failed; its last lines are in the message.
    """
    started = stopwatch()
    root = Path(__file__).parents[2]
    files = own_modules(ENTRY_POINT, root)
    digests = [(str(path.relative_to(root)), sha256_of(path)) for path in files]
    key = key_of(
        "installer",
        digests,
        sha256_of(REQUIREMENTS),
        version("pex"),
        version(PROJECT),
        PYTHONS,
        ARCHES,
        GLIBC,
        LEFT_OUT,
        RECIPE,
    )
    emit(StageStarted(stage="installer", total=1))
    known = store.recall("installer", key)
    digest = "" if known is None else str(known["digest"])
    reused = bool(digest) and store.has(digest)
    if reused:
        blob = Blob(digest=digest, size=store.size(digest))
    else:
        blob = _build(files, root, store, indexes)
        store.remember("installer", key, {"digest": blob.digest})
    emit(StageFinished(stage="installer", seconds=stopwatch() - started, items=1, reused=int(reused), size=blob.size))
    return blob


def _build(files: Sequence[Path], root: Path, store: Store, indexes: IndexConfig) -> Blob:
    pins = [pin for pin in read_pins(REQUIREMENTS.read_text("utf-8")) if pin.name not in LEFT_OUT]
    with store.workdir("installer") as work:
        for path in files:
            copy = work / "sources" / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        (work / "sources" / "bundler" / "version.txt").write_text(version(PROJECT) + "\n", "utf-8")
        try:
            place(fetch_wheels(pins, platforms(), indexes, store), store, work / "wheels")
        except BundlerError as error:
            raise EnvironmentProblem(
                f"bundle-install could not be built: {error.message}",
                hint=error.hint or "is the package index reachable, and does it have these versions?",
                problems=error.problems,
            ) from error
        direct = {canonicalize_name(Requirement(line).name) for line in requires(PROJECT) or () if _carried(line)}
        return store.adopt(_pex([pin.requirement.to_pep508() for pin in pins if pin.name in direct], work, store))


def _carried(line: str) -> bool:
    """Return whether a requirement of ours is one of the air-gapped half: not of the extra that a build host adds."""
    marker = Requirement(line).marker
    return marker is None or "extra" not in str(marker)


def _pex(requirements: Sequence[str], work: Path, store: Store) -> Path:
    """Return the finished file in ``work``, of ``wheels`` and ``sources`` there; ``requirements`` are our own."""
    chosen = []
    # pex goes by the last platform when it asks whether a requirement counts: the oldest Python has them all.
    for target in reversed(platforms()):
        path = work / f"{target.python.tag}-{target.arch}.json"
        path.write_text(complete_platform(target), "utf-8")
        chosen += ["--complete-platform", str(path)]
    out = work / "bundle-install"
    argv = [
        sys.executable, "-m", "pex", "--disable-cache", *chosen, *(f"--exclude={name}" for name in LEFT_OUT),
        "--no-build", "--no-pypi", "--pre-resolved-dists", str(work / "wheels"), *requirements,
        "--sources-directory", str(work / "sources"), "--entry-point", f"{ENTRY_POINT}:main",
        "--python-shebang", "/usr/bin/env python3", "--no-emit-warnings", "--venv", "--output-file", str(out),
    ]  # fmt: skip
    log = store.root / "logs" / "installer.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", "utf-8")
    try:
        run(Command(argv=argv, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}), log=log)
    except CommandFailed as error:
        why = reason(error.output or log.read_text("utf-8", "replace"))
        raise EnvironmentProblem(f"bundle-install could not be built: {why}", hint=f"log: {log}") from error
    return out


def reason(output: str) -> str:
    """Return the line of pex's output that says why it failed: its last error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.partition("ERROR: ")[2] for line in lines if "ERROR: " in line]
    return (errors or lines or ["pex said nothing"])[-1][:300]
