"""A venv's own frame: all that is in its archive besides layers (PEP 405).

virtualenv and venv write the build path into ``pyvenv.cfg`` and ``activate``; here nothing but the fallback of a
plain ``sh`` depends on the place.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundler.archive.extract import checked_path
from bundler.archive.tar import TarEntry, file_of
from bundler.model.target import Python
from bundler.store.cas import Blob, Store
from bundler.venvs.layers import put_segment

_HERE = Path(__file__).parent
#: Where the venv's requirements, constraints and lock are kept if the caller has no better place.
DOCUMENTS = "share/bundle"


@dataclass(frozen=True, kw_only=True)
class FrameRequest:
    """What a venv is to look like.

    ``files``: path below the venv's root → content; ``links``: path below the root and the absolute path of the
    system (system packages).
    """

    name: str
    python: Python
    install_path: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The frame's blob, the paths of its files and links, and those of its links that are absolute."""

    blob: Blob
    paths: tuple[str, ...]
    absolute: Mapping[str, str]


def make_frame(store: Store, request: FrameRequest) -> Frame:
    """Store the frame of a venv.

    Raises:
        IntegrityError: A path of ``files`` or ``links`` leaves the venv.
    """
    entries = [*_interpreter(request.python), *_texts(request)]
    entries += [file_of(checked_path(path), data) for path, data in request.files.items()]
    entries += [_link(checked_path(path), target) for path, target in request.links]
    return Frame(
        blob=put_segment(store, entries),
        paths=tuple(sorted(entry.path for entry in entries if entry.kind != "directory")),
        absolute={entry.path: entry.target for entry in entries if entry.target.startswith("/")},
    )


def _link(path: str, target: str) -> TarEntry:
    return TarEntry(path=path, kind="link", target=target)


def _interpreter(python: Python) -> list[TarEntry]:
    """Return the links that make it a venv of ``python``, whatever the layers call their directories."""
    versioned = f"python{python.version}"
    return [
        _link("bin/python", python.executable),
        _link("bin/python3", "python"),
        _link(f"bin/{versioned}", "python"),
        _link(f"lib/{versioned}", "py"),
        _link("lib64", "lib"),
        _link(f"include/site/{versioned}", "py"),
        TarEntry(path="include/site/py", kind="directory"),
        TarEntry(path="lib/py/site-packages", kind="directory"),
    ]


def _texts(request: FrameRequest) -> list[TarEntry]:
    python = request.python
    config = {
        "home": posixpath.dirname(python.executable),
        "include-system-site-packages": "false",
        "version": python.full_version,
        "version_info": python.full_version,
        "relocatable": "true",
        "prompt": request.name,
    }
    values = {"@prompt@": shlex.quote(request.name), "@install_path@": shlex.quote(request.install_path)}
    return [
        file_of("pyvenv.cfg", "".join(f"{key} = {value}\n" for key, value in config.items()).encode()),
        file_of("bin/activate", _filled("activate.sh", values)),
        file_of("bin/activate.fish", _filled("activate.fish.tmpl", values)),
    ]


def _filled(template: str, values: Mapping[str, str]) -> bytes:
    text = (_HERE / template).read_text("utf-8")
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text.encode()
