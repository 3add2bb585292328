"""What we write into each venv that we unpack: which archive it is, and which venv was in use before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bundler.errors import FormatError, IntegrityError
from bundler.files import write
from bundler.model.json_fields import load_json

RECORD = ".bundle-venv.json"
_MAX_RECORD = 4 << 20
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class VenvRecord:
    """``name``: of the venv without its version; ``archive``: the archive's SHA-256; ``layers``: digests of frames.

    ``copied``: it has files of its own instead of hard links; ``previous``: what the link pointed to before.
    ``left``: what was in use when somebody went back to this one; empty where it was not gone back to.
    """

    name: str
    archive: str
    layers: tuple[str, ...]
    copied: bool
    previous: str
    left: str = ""

    def save(self, venv: Path) -> None:
        """Write it into ``venv``."""
        write(venv / RECORD, self._bytes())

    def put(self, tree: Path) -> None:
        """Write it into a tree that is not finished; whoever finishes it makes that durable.

        Raises:
            IntegrityError: An archive has a file of that name.
        """
        try:
            with (tree / RECORD).open("xb") as file:
                file.write(self._bytes())
        except FileExistsError as error:
            raise IntegrityError(f"the archive has a file {RECORD}") from error

    def _bytes(self) -> bytes:
        return json.dumps({"format": _FORMAT, **asdict(self)}, sort_keys=True).encode() + b"\n"


def read_record(venv: Path) -> VenvRecord | None:
    """Return the record of a directory; None where it is none of our venvs."""
    try:
        with (venv / RECORD).open("rb") as file:
            fields = load_json(file.read(_MAX_RECORD), str(venv / RECORD)).values
    except (OSError, FormatError):
        return None
    return parse_record(fields)


def parse_record(fields: Mapping[str, object]) -> VenvRecord | None:
    """Return what the fields of a record say; None where they are none of ours."""
    texts = [fields.get(key, "") for key in ("name", "archive", "previous", "left")]
    layers = fields.get("layers")
    if fields.get("format") != _FORMAT or not isinstance(layers, list):
        return None
    if not all(isinstance(text, str) for text in (*texts, *layers)):
        return None
    name, archive, previous, left = map(str, texts)
    return VenvRecord(
        name=name,
        archive=archive,
        previous=previous,
        left=left,
        layers=tuple(layers),
        copied=fields.get("copied") is True,
    )


def venvs_in(directory: Path) -> dict[str, VenvRecord]:
    """Return our venvs directly in ``directory`` by the names of their directories, the last activated first."""
    found: list[tuple[int, str, VenvRecord]] = []
    for entry in directory.iterdir():
        if entry.name.startswith(".") or entry.is_symlink() or not entry.is_dir():
            continue
        record = read_record(entry)
        if record is not None:
            found.append(((entry / RECORD).stat().st_mtime_ns, entry.name, record))
    return {name: record for _, name, record in sorted(found, key=lambda one: (-one[0], one[1]))}
