"""What is answered to a request, as a value: files, parts of files, pages as they were asked for (RFC 9110)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from html import escape
from http import HTTPStatus
from urllib.parse import quote

from bundler.model.accept import HTML, SIMPLE_HTML, SIMPLE_JSON, choose_page
from bundler.model.byte_range import ByteRange, Unsatisfiable, parse_range
from bundler.serving.root import Entry, NotServed, Root, clean, names, normalised

#: By the end of a name. Nothing is said of encodings: an archive is a file, not a transfer's compression.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".whl": "application/zip",
    ".metadata": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".toml": "text/plain; charset=utf-8",
    ".sha256": "text/plain; charset=utf-8",
    ".zst": "application/zstd",
}
_UNKNOWN = "application/octet-stream"
#: Names stay and content changes, with each release: clients ask, and are told in a few bytes that nothing is new.
_CACHING = "no-cache"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it came; names of fields are lower case."""

    target: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, header fields, and as body either ``text`` or ``part`` of an open file, which the sender closes."""

    status: HTTPStatus
    fields: Mapping[str, str]
    text: bytes = b""
    entry: Entry | None = None
    part: ByteRange | None = None

    @property
    def length(self) -> int:
        """Return how many bytes the body has."""
        return self.part.length if self.part else len(self.text)

    def close(self) -> None:
        """Close the file."""
        if self.entry is not None:
            self.entry.close()


def answer(root: Root, request: Request) -> Answer:
    """Return what ``root`` has for a GET; a HEAD is told the same without its body."""
    try:
        path = normalised(clean(request.target))
        entry = root.open(path)
    except NotServed:
        return refusal(HTTPStatus.NOT_FOUND, "there is no such file in the release that is served")
    if not entry.is_directory:
        return _file(request, entry, _type(path))
    try:
        if path and not path.endswith(b"/"):
            return refusal(HTTPStatus.MOVED_PERMANENTLY, "", {"Location": f"/{quote(path)}/"})
        return _directory(root, request, entry, path)
    finally:
        entry.close()


def refusal(status: HTTPStatus, text: str, fields: Mapping[str, str] | None = None) -> Answer:
    """Return an answer that says in one line why there is no file."""
    body = f"{status.value} {status.phrase}{f': {text}' if text else ''}\n".encode()
    return Answer(status=status, fields={"Content-Type": _TYPES[".txt"], **(fields or {})}, text=body)


def _directory(root: Root, request: Request, directory: Entry, path: bytes) -> Answer:
    """Answer with the page of a directory; wheels are listed even without one: --find-links reads that."""
    try:
        return _page(root, request, directory)
    except NotServed:
        if path.rstrip(b"/").endswith(b"/wheels"):
            return _listing(directory)
        return refusal(HTTPStatus.NOT_FOUND, "this directory has no page")


def _page(root: Root, request: Request, directory: Entry) -> Answer:
    html = root.open_in(directory, b"index.html")
    try:
        json = root.open_in(directory, b"index.json")
    except NotServed:
        return _file(request, html, _TYPES[".html"])
    kind = choose_page(request.fields.get("accept", ""))
    chosen, other = (json, html) if kind == SIMPLE_JSON else (html, json)
    other.close()
    return _file(request, chosen, _TYPES[".html"] if kind == HTML else kind, vary=True)


def _listing(directory: Entry) -> Answer:
    rows = "".join(
        f'<a href="{quote(os.fsencode(name))}">{escape(os.fsencode(name).decode("utf-8", "replace"))}</a><br>\n'
        for name in names(directory)
    )
    text = f"<!DOCTYPE html>\n<title>wheels</title>\n{rows}".encode()
    return Answer(
        status=HTTPStatus.OK, fields={"Content-Type": _TYPES[".html"], "Cache-Control": _CACHING}, text=text
    )


def _file(request: Request, entry: Entry, kind: str, *, vary: bool = False) -> Answer:
    if entry.is_directory:
        entry.close()
        raise NotServed
    size = entry.facts.st_size
    fields = {
        "ETag": _tag(entry, kind),
        "Last-Modified": _time(entry),
        "Cache-Control": _CACHING,
        "Accept-Ranges": "bytes",
        **({"Vary": "Accept"} if vary else {}),
    }
    if _has_it(request, fields):
        entry.close()
        return Answer(status=HTTPStatus.NOT_MODIFIED, fields=fields)
    fields |= {"Content-Type": kind, "X-Content-Type-Options": "nosniff"}
    try:
        part = parse_range(request.fields.get("range", ""), size) if _ranges_count(request, fields) else None
    except Unsatisfiable as error:
        entry.close()
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return refusal(status, str(error), {"Content-Range": f"bytes */{size}"})
    if part is None:
        whole = ByteRange(start=0, length=size, size=size)
        return Answer(status=HTTPStatus.OK, fields=fields, entry=entry, part=whole)
    fields["Content-Range"] = part.content_range
    return Answer(status=HTTPStatus.PARTIAL_CONTENT, fields=fields, entry=entry, part=part)


def _has_it(request: Request, fields: Mapping[str, str]) -> bool:
    """Return whether the client has these very bytes already (section 13.2.2)."""
    tags = request.fields.get("if-none-match")
    if tags is not None:
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return bool({"*", fields["ETag"]} & known)
    # The very time, not "since": going back to an older release is a change too.
    return request.fields.get("if-modified-since") == fields["Last-Modified"]


def _ranges_count(request: Request, fields: Mapping[str, str]) -> bool:
    """Return whether the part that a client has is of this very file (section 13.1.5)."""
    given = request.fields.get("if-range")
    return given is None or given in (fields["ETag"], fields["Last-Modified"])


def _tag(entry: Entry, kind: str) -> str:
    """Return a tag that another file of the same name never has, nor this one after a change, nor in another type."""
    facts = entry.facts
    mark = "h" if kind == SIMPLE_HTML else ""
    return f'"{facts.st_size:x}-{facts.st_mtime_ns:x}-{facts.st_ino:x}{mark}"'


def _time(entry: Entry) -> str:
    return formatdate(int(entry.facts.st_mtime), usegmt=True)


def _type(path: bytes) -> str:
    name = os.path.basename(path)  # noqa: PTH119 — bytes
    if name == b"index.json":
        return SIMPLE_JSON
    return _TYPES.get(os.path.splitext(name.decode("latin-1"))[1], _UNKNOWN)  # noqa: PTH122 — a name
