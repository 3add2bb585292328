"""What travels beside the volumes: verify.sh, README.txt, the evidence archive, the tables."""

from __future__ import annotations

import string
from collections.abc import Iterable
from importlib import resources

from bundler.archive.compress import compress_frame
from bundler.archive.tar import END, file_of, segment
from bundler.bundle.layout import NAMESPACE
from bundler.clock import iso
from bundler.model.contents import Contents
from bundler.model.paths import check_path, check_tree

_LEVEL = 19


def verify_script() -> bytes:
    """Return verify.sh."""
    return _data("verify.sh")


def readme(contents: Contents) -> bytes:
    """Return README.txt for the person who finds the stick."""
    size = sum(volume.size for volume in contents.volumes)
    targets = "\n".join(
        f"  {target.name:28} Python {target.python}, glibc {target.glibc} or newer" for target in contents.targets
    )
    venvs = "\n".join(
        f"  {venv.name:20} {venv.target:28} {venv.install_path}  {_proof(venv.proof.level, passed=venv.proof.passed)}"
        for venv in contents.venvs
    )
    text = string.Template(_data("README.txt.tmpl").decode("utf-8")).substitute(
        id=contents.id,
        name=contents.name,
        version=contents.version,
        sequence=contents.sequence,
        created=iso(contents.created),
        tool=contents.tool,
        namespace=NAMESPACE,
        volumes=len(contents.volumes),
        mebibytes=-(-size // (1 << 20)),
        files=len(contents.files),
        targets=targets,
        venvs=venvs or "  none",
        example=contents.targets[0].name if contents.targets else "TARGET",
    )
    return text.encode("utf-8")


def _proof(level: str, *, passed: bool) -> str:
    if level == "none" or not passed:
        return "NOT PROVED"
    return f"proved ({level})"


def evidence_archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a ``.tar.zst`` of the members, sorted, with fixed modes, owners and times.

    Raises:
        FormatError: A path that a bundle may not name, or one path twice.
    """
    ordered = sorted(members)
    check_tree(check_path(path) for path, _ in ordered)
    data = b"".join(segment(file_of(path, content) for path, content in ordered)) + END
    return b"".join(compress_frame([data], len(data), _LEVEL))


def _data(name: str) -> bytes:
    return resources.files("bundler.bundle").joinpath("data").joinpath(name).read_bytes()
