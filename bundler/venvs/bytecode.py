"""Compile the sources of a layer with the target's own interpreter, the same bytes every time.

A fresh process compiles each batch of at most :data:`BATCH` sources in the order of their paths, because a few .pyc
files depend on what the process compiled before; PYTHONHASHSEED=0 orders sets. Before Python 3.11 sets that hold
None are ordered by addresses, hence ``setarch -R``. The paths inside are relative to site-packages; the import
system puts the real ones in (so tracebacks are right).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bundler.archive.tar import TarEntry
from bundler.buildenv.interpreter import Interpreter
from bundler.errors import CommandFailed, LayerError, ToolMissing
from bundler.model.target import Python
from bundler.process import Command, run
from bundler.venvs.layer_tree import SITE, LayerFile
from bundler.venvs.spool import Spool, pieces

BATCH = 400
_TESTS = "tests"
_HELPER = Path(__file__).with_name("compile_layer.py")
#: Where an interpreter inside a root file system sees the spool's directory, and the helper.
_PLACE, _HELPER_INSIDE = "/spool", "/helper/compile_layer.py"
_PATH = "/usr/local/bin:/usr/bin:/bin"
_WRONG_VERSION = 3
_STABLE_SETS = (3, 11)


@dataclass(frozen=True, kw_only=True)
class _Batch:
    interpreter: Interpreter
    spool: Path
    result: Path
    sources: Sequence[LayerFile]


def sources_of(files: Iterable[LayerFile]) -> list[LayerFile]:
    """Return the files that a service may import, in the order in which they are compiled.

    Packages' own ``tests`` are left out: they are a third of all bytecode, and no service imports them. Python
    compiles them when somebody does.
    """
    return [file for file in files if _is_importable(file.path)]


def _is_importable(path: str) -> bool:
    inside, name = path.removeprefix(f"{SITE}/"), posixpath.basename(path)
    if inside == path or not name.endswith(".py") or name == ".py":
        return False
    return _TESTS not in inside.split("/")[:-1]


def compile_sources(
    files: Sequence[LayerFile], spool: Spool, interpreter: Interpreter, pool: Executor
) -> list[TarEntry]:
    """Return the .pyc files of ``files``, whose contents are in ``spool``; those that do not compile have none.

    The results are added to the spool.

    Raises:
        LayerError: The interpreter is not of the version that was asked for, or fails.
        ToolMissing: It is not installed.
    """
    spool.flush()
    sources = sources_of(files)
    batches = [
        _Batch(
            interpreter=interpreter,
            spool=spool.path,
            result=spool.path.with_name(f"{spool.path.name}-{interpreter.python.tag}-{start}"),
            sources=sources[start : start + BATCH],
        )
        for start in range(0, len(sources), BATCH)
    ]
    found: list[TarEntry] = []
    for batch, listing in zip(batches, pool.map(_compile, batches), strict=True):
        found.extend(_collect(batch, listing, spool))
    spool.flush()
    return found


def _compile(batch: _Batch) -> bytes:
    """Write the results of a batch to its file; return the helper's list of them."""
    python, place = batch.interpreter.python, batch.spool.parent
    prefix = batch.interpreter.prefix({_PLACE: place}, {_HELPER_INSIDE: _HELPER})
    helper, inside = (_HELPER_INSIDE, PurePosixPath(_PLACE)) if prefix else (str(_HELPER), PurePosixPath(place))
    command = Command(
        argv=[
            *_prefix(python),
            *prefix,
            *(python.executable, "-S", "-s", "-B", "-W", "ignore", helper, python.full_version),
            *(str(inside / batch.spool.name), str(inside / batch.result.name)),
        ],
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": _PATH},
        cwd=place,
        stdin=b"".join(_line(file) for file in batch.sources),
    )
    if not batch.interpreter.exists:
        raise ToolMissing(
            f"{python.executable} is not installed: it compiles the bytecode of its target",
            hint=f"apt-get install python{python.version}",
        )
    try:
        return run(command).stdout
    except CommandFailed as error:
        raise _explained(error, python) from error


def _prefix(python: Python) -> list[str]:
    old = tuple(int(part) for part in python.version.split(".")) < _STABLE_SETS
    return ["setarch", "-R"] if old else []


def _line(file: LayerFile) -> bytes:
    path = file.path[len(SITE) + 1 :].encode("utf-8", "surrogateescape")
    return f"{file.content.offset} {file.content.size} ".encode() + path + b"\0"


def _explained(error: CommandFailed, python: Python) -> LayerError:
    if error.returncode == _WRONG_VERSION:
        return LayerError(
            f"{python.executable} is Python {error.output}, but the target has {python.full_version}",
            hint="bytecode belongs to one version exactly: lock again for this host, or install that version",
        )
    return LayerError(f"{python.executable} cannot compile: {error.output.strip()[-500:]}")


def _collect(batch: _Batch, listing: bytes, spool: Spool) -> Iterator[TarEntry]:
    """Move the results of a batch into the spool and yield their entries."""
    with batch.result.open("rb") as file:
        offset = spool.append(pieces(file)).offset
    batch.result.unlink()
    for line in listing.split(b"\0")[:-1]:
        length, _, path = line.partition(b" ")
        if length == b"-":
            continue
        size = int(length)
        yield TarEntry(path=_cached(path, batch.interpreter.python), size=size, read=spool.reader(offset, size))
        offset += size


def _cached(source: bytes, python: Python) -> str:
    """Return where the .pyc of a source below site-packages lies (PEP 3147)."""
    folder, name = posixpath.split(source.decode("utf-8", "surrogateescape"))
    tag = f"cpython-{python.version.replace('.', '')}"
    return posixpath.join(SITE, folder, "__pycache__", f"{name[: -len('.py')]}.{tag}.pyc")
