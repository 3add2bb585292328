"""A package index as static files: HTML (PEP 503, 592, 658, 714) and JSON (PEP 691, 700) of the simple API. Pure.

Addresses are relative, so that the same bytes serve under every name that leads to them. Nothing in a page depends on
when it was made: the index that a file came from may know its upload time, a lock does not.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from packaging.utils import parse_wheel_filename
from packaging.version import Version

INDEX_HTML, INDEX_JSON = "index.html", "index.json"
#: What a file with the METADATA of a wheel is called after the wheel (PEP 658).
METADATA_SUFFIX = ".metadata"
_API_VERSION = "1.1"
#: Platform tags of wheels that run on more systems than the one that made them begin with these.
_PORTABLE = ("any", "manylinux", "musllinux")


@dataclass(frozen=True, kw_only=True)
class IndexedWheel:
    """A wheel in an index. ``yanked`` is the reason where its own index withdrew it; ``metadata`` a SHA-256."""

    name: str
    version: str
    filename: str
    size: int
    sha256: str
    metadata: str
    requires_python: str = ""
    yanked: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A wheel in an index and the directory that it lies in, as a project's page refers to it: ``../_wheels``."""

    wheel: IndexedWheel
    folder: str

    @property
    def url(self) -> str:
        """Return the relative address."""
        name = quote(self.wheel.filename)
        return f"{self.folder}/{name}" if self.folder else name


def is_portable(filename: str) -> bool:
    """Return whether a wheel is for any system, or for all whose C library is new enough (PEP 600, PEP 656)."""
    return all(tag.platform.startswith(_PORTABLE) for tag in parse_wheel_filename(filename)[3])


def index_pages(places: Iterable[Place]) -> dict[str, bytes]:
    """Return path below the index → bytes, of the list of projects and every project's page."""
    projects: dict[str, list[Place]] = {}
    for place in sorted(places, key=_order):
        projects.setdefault(place.wheel.name, []).append(place)
    pages = {INDEX_HTML: _projects_html(projects), INDEX_JSON: _projects_json(projects)}
    for name, mine in projects.items():
        pages[f"{name}/{INDEX_HTML}"] = wheels_html(f"Links for {name}", mine)
        pages[f"{name}/{INDEX_JSON}"] = _project_json(name, mine)
    return pages


def wheels_html(title: str, places: Sequence[Place]) -> bytes:
    """Return a page with a link for each wheel."""
    rows = [f"<a {_attributes(place)}>{html.escape(place.wheel.filename)}</a><br>" for place in places]
    return _page(title, rows)


def _order(place: Place) -> tuple[str, Version, str]:
    wheel = place.wheel
    return wheel.name, Version(wheel.version), wheel.filename


def _page(title: str, rows: Iterable[str]) -> bytes:
    lines = (
        "<!DOCTYPE html>",
        '<html><head><meta charset="utf-8">',
        '<meta name="pypi:repository-version" content="1.1">',
        f"<title>{html.escape(title)}</title></head>",
        "<body>",
        f"<h1>{html.escape(title)}</h1>",
        *rows,
        "</body></html>",
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _attributes(place: Place) -> str:
    wheel = place.wheel
    found = {"href": f"{place.url}#sha256={wheel.sha256}"}
    if wheel.requires_python:
        found["data-requires-python"] = wheel.requires_python
    # Not under the name of PEP 658: clients that know no other, as pip 23.0 of Debian 12, then want the name in
    # METADATA to be normalised, and refuse Jinja2 (PEP 714).
    found["data-core-metadata"] = f"sha256={wheel.metadata}"
    if wheel.yanked:
        found["data-yanked"] = wheel.yanked
    return " ".join(f'{name}="{html.escape(value)}"' for name, value in found.items())


def _projects_html(projects: Iterable[str]) -> bytes:
    rows = (f'<a href="{quote(name)}/">{html.escape(name)}</a><br>' for name in projects)
    return _page("Simple index", rows)


def _projects_json(projects: Iterable[str]) -> bytes:
    return _json({"meta": {"api-version": _API_VERSION}, "projects": [{"name": name} for name in projects]})


def _project_json(name: str, places: Sequence[Place]) -> bytes:
    document = {
        "meta": {"api-version": _API_VERSION},
        "name": name,
        "versions": list(dict.fromkeys(place.wheel.version for place in places)),
        "files": [_file(place) for place in places],
    }
    return _json(document)


def _file(place: Place) -> dict[str, Any]:
    wheel = place.wheel
    found: dict[str, Any] = {
        "filename": wheel.filename,
        "url": place.url,
        "hashes": {"sha256": wheel.sha256},
        "size": wheel.size,
        "core-metadata": {"sha256": wheel.metadata},
    }
    if wheel.requires_python:
        found["requires-python"] = wheel.requires_python
    if wheel.yanked:
        found["yanked"] = wheel.yanked
    return found


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, ensure_ascii=True, separators=(",", ":")) + "\n").encode()
