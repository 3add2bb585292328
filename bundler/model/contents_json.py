"""``bundle.json`` ↔ :class:`~bundler.model.contents.Contents`.

Reading: a higher format and names in ``critical`` that we do not know are refused; other unknown keys are ignored,
so that old readers read new bundles of the same format. Writing: UTF-8, one entry per line, no choice anywhere.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, Literal, cast

from bundler.errors import FormatError
from bundler.model.contents import (
    FORMAT,
    MAX_BUNDLE_JSON,
    BlobEntry,
    Contents,
    FileEntry,
    LinkEntry,
    PackageEntry,
    ProofEntry,
    RoleEntry,
    RoleVenv,
    SeedEntry,
    TargetEntry,
    VenvEntry,
    VolumeEntry,
)
from bundler.model.json_fields import Fields, Node, load_json
from bundler.model.paths import check_link, check_path
from bundler.model.sums import NAME

#: Features that a bundle may declare critical and this version understands.
KNOWN_CRITICAL: frozenset[str] = frozenset()

_RELEASE_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?")
_RELEASE_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_]{0,63}")
TARGET = re.compile(r"[a-z][a-z0-9]*-[0-9][0-9.]{0,15}-[a-z0-9_]{1,32}(-py3[0-9]{1,2})?")
_MODE = re.compile(r"0[4-7][0145][0145]")
_INSTALL_PATH = re.compile(r"(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+")
_ROLE_WORD = re.compile(r"[A-Za-z0-9.+_-]{0,255}")
_DIGEST_OR_NONE = re.compile(r"([0-9a-f]{64})?")
_TARGET_OR_NONE = re.compile(rf"({TARGET.pattern})?")


def parse_contents(data: bytes) -> Contents:
    """Return what ``bundle.json`` says.

    Raises:
        FormatError: Naming the path of the first field that is wrong.
    """
    if len(data) > MAX_BUNDLE_JSON:
        raise FormatError(f"bundle.json is larger than {MAX_BUNDLE_JSON} bytes")
    try:
        return _contents(load_json(data, "bundle.json"))
    except FormatError as error:
        if error.message.startswith("bundle.json"):
            raise
        raise FormatError(f"bundle.json: {error.message}", hint=error.hint) from error


def _contents(top: Fields) -> Contents:
    # The format comes first: nothing else can be judged before it is known.
    number = top.node("format").integer()
    if not 1 <= number <= FORMAT:
        raise FormatError(
            f"format: {number} is not known; this version reads formats 1 to {FORMAT}",
            hint="check the bundle with the bundle-install that came with it, or a newer one",
        )
    critical = top.node("critical", []).each(Node.text)
    unknown = sorted(set(critical) - KNOWN_CRITICAL)
    if unknown:
        raise FormatError(f"critical: this version does not know {', '.join(unknown)}", hint="use a newer version")
    return Contents(
        format=number,
        critical=critical,
        name=top.node("name").text(_RELEASE_NAME),
        version=top.node("version").text(_RELEASE_VERSION),
        sequence=top.node("sequence").integer(),
        floor=top.node("floor").integer(),
        created=top.node("created").integer(),
        tool=top.node("tool").text(),
        base=top.node("base", "").text(_DIGEST_OR_NONE),
        targets=top.node("targets").each(_target),
        files=top.node("files").each(_file),
        links=top.node("links").each(_link),
        volumes=top.node("volumes").each(_volume),
        venvs=top.node("venvs").each(_venv),
        seeds=top.node("seeds", []).each(_seed),
        openstack_ansible=top.node("openstack_ansible", []).each(_role),
    )


def _target_name(node: Node) -> str:
    return node.text(TARGET)


def _target(node: Node) -> TargetEntry:
    fields = node.fields()
    return TargetEntry(
        name=_target_name(fields.node("name")),
        distro=fields.node("distro").text(),
        version=fields.node("version").text(),
        arch=fields.node("arch").text(),
        python=fields.node("python").text(),
        glibc=fields.node("glibc").text(),
    )


def _file(node: Node) -> FileEntry:
    fields = node.fields()
    return FileEntry(
        path=fields.node("path").checked(check_path),
        size=fields.node("size").integer(),
        sha256=fields.node("sha256").digest(),
        mode=int(fields.node("mode").text(_MODE), 8),
        targets=fields.node("targets").each(_target_name),
        blobs=fields.node("blobs").each(Node.digest),
    )


def _link(node: Node) -> LinkEntry:
    fields = node.fields()
    path = fields.node("path").checked(check_path)
    return LinkEntry(
        path=path,
        to=fields.node("to").checked(lambda to: check_link(path, to)),
        targets=fields.node("targets").each(_target_name),
    )


def _volume(node: Node) -> VolumeEntry:
    fields = node.fields()
    return VolumeEntry(
        name=fields.node("name").text(NAME),
        target=fields.node("target").text(_TARGET_OR_NONE),
        size=fields.node("size").integer(),
        blobs=fields.node("blobs").each(_blob),
    )


def _blob(node: Node) -> BlobEntry:
    fields = node.fields()
    return BlobEntry(
        sha256=fields.node("sha256").digest(),
        size=fields.node("size").integer(),
        offset=fields.node("offset").integer(),
        length=fields.node("length").integer(),
    )


def _venv(node: Node) -> VenvEntry:
    fields = node.fields()
    return VenvEntry(
        name=fields.node("name").text(),
        target=_target_name(fields.node("target")),
        python=fields.node("python").text(),
        install_path=fields.node("install_path").text(_INSTALL_PATH),
        archive=fields.node("archive").checked(check_path),
        packages=fields.node("packages").each(_package),
        console_scripts=fields.node("console_scripts").each(Node.text),
        runtime_packages=fields.node("runtime_packages", []).each(Node.text),
        proof=_proof(fields.node("proof")),
    )


def _package(node: Node) -> PackageEntry:
    fields = node.fields()
    return PackageEntry(
        name=fields.node("name").text(),
        version=fields.node("version").text(),
        wheel=fields.node("wheel").text(),
        wheel_sha256=fields.node("wheel_sha256").digest(),
        layers=fields.node("layers").each(Node.digest),
        kind=fields.node("kind").text(),
        requested=fields.node("requested", default=False).boolean(),
    )


def _seed(node: Node) -> SeedEntry:
    fields = node.fields()
    return SeedEntry(target=_target_name(fields.node("target")), packages=fields.node("packages").each(_package))


def _role(node: Node) -> RoleEntry:
    fields = node.fields()
    return RoleEntry(
        branch=fields.node("branch").text(_ROLE_WORD),
        release=fields.node("release").text(_ROLE_WORD),
        upper=fields.node("upper").text(_ROLE_WORD),
        venvs=fields.node("venvs").each(_role_venv),
    )


def _role_venv(node: Node) -> RoleVenv:
    fields = node.fields()
    return RoleVenv(
        name=fields.node("name").text(),
        basename=fields.node("basename").text(_ROLE_WORD),
        requirements=fields.node("requirements").each(Node.text),
        named=fields.node("named", []).each(Node.text),
    )


def _proof(node: Node) -> ProofEntry:
    fields = node.fields()
    level = fields.node("level")
    if level.text() not in ("target", "host", "none"):
        raise level.fail("must be target, host or none")
    return ProofEntry(
        level=cast("Literal['target', 'host', 'none']", level.text()),
        passed=fields.node("passed").boolean(),
        checks=fields.node("checks").integer(),
        allowed=fields.node("allowed", 0).integer(),
        unisolated=fields.node("unisolated", []).each(Node.text),
        unproved_allowed=fields.node("unproved_allowed", default=False).boolean(),
    )


def format_contents(contents: Contents) -> bytes:
    """Return ``bundle.json`` as bytes, which :func:`parse_contents` reads back to the same value."""
    names = ("format", "critical", *(f.name for f in dataclasses.fields(Contents)))
    values = {name: _plain(getattr(contents, name)) for name in dict.fromkeys(names)}
    return (_lines(values, "") + "\n").encode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(element) for element in value]
    if not dataclasses.is_dataclass(value):
        return value
    found = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, FileEntry):
        found["mode"] = f"{value.mode:04o}"
    return found


def _lines(value: Any, indent: str) -> str:
    """Return JSON with a line per key and per entry where a value holds lists of entries, else on one line."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = [indent + " " + _lines(element, indent + " ") for element in value]
        return "[\n" + ",\n".join(rows) + "\n" + indent + "]"
    if isinstance(value, dict) and any(_is_table(element) for element in value.values()):
        rows = [f"{indent} {json.dumps(name)}: {_lines(element, indent + ' ')}" for name, element in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + indent + "}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
