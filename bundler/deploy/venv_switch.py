"""Which of several venvs is in use: a link beside them, switched in one step; old ones go, and one comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bundler import files
from bundler.deploy.venv_record import VenvRecord, read_record, venvs_in
from bundler.errors import BundleRevoked, UnpackFailed


def linked_to(link: Path) -> str | None:
    """Return the name that the link points to, or None where there is none."""
    return str(link.readlink()) if link.is_symlink() else None


def check_link(link: Path, venv: Path) -> None:
    """Refuse a link that would take the place of something else.

    Raises:
        UnpackFailed: Something is there that is no link.
    """
    if link == venv or (link.exists() and not link.is_symlink()):
        raise UnpackFailed(
            f"{link} would be the link to the venv in use, but it is a directory of its own",
            hint="choose another name with --link",
        )


def switch(link: Path, venv: Path, record: VenvRecord) -> bool:
    """Let ``link`` point to ``venv``, and the venv remember what it pointed to before; return whether it changed."""
    before = linked_to(link)
    if before == venv.name:
        return False
    # First the memory, then the switch: a kill between them is mended by a rerun.
    files.sweep(venv)
    remembered = replace(record, previous=before or "")
    if read_record(venv) != remembered:
        remembered.save(venv)
    files.replace_link(link, venv.name)
    return True


def forget_old(into: Path, venv: Path, link: Path, keep: int) -> tuple[str, ...]:
    """Remove all but the ``keep`` venvs of the same name that were in use last; return the names of those removed."""
    venvs = venvs_in(into)
    active = venvs[venv.name]
    others = [name for name, record in venvs.items() if record.name == link.name and name != venv.name]
    # What a rollback would go to goes last.
    others.sort(key=lambda name: name != active.previous)
    for name in others[keep:]:
        _remove(into / name)
    return tuple(others[keep:])


def _remove(venv: Path) -> None:
    """Remove a venv; a kill in the middle leaves it under an unfinished name only."""
    doomed = files.partial_name(venv)
    venv.rename(doomed)
    files.remove(doomed)


@dataclass(frozen=True, kw_only=True)
class GoBack:
    """Which link goes back, and to which venv: ``to``, or the one before. Archives in ``refused`` are not gone to."""

    link: str
    to: str = ""
    refused: frozenset[str] = frozenset()


def go_back(into: Path, request: GoBack) -> tuple[Path, bool]:
    """Switch the link to the venv that was in use before; return that, and whether it changed.

    A link that was gone back with already stays, so that a repeated run goes back once: further back, name the venv.

    Raises:
        UnpackFailed: There is none.
        BundleRevoked: It is refused.
    """
    link = into / request.link
    current = linked_to(link)
    venvs = venvs_in(into)
    name = where_back(current, venvs, request)
    if name == current:
        return into / name, False
    # First the memory, then the switch, as above.
    files.sweep(into / name)
    replace(venvs[name], left=current or "").save(into / name)
    files.replace_link(link, name)
    return into / name, True


def where_back(current: str | None, venvs: Mapping[str, VenvRecord], request: GoBack) -> str:
    """Return the venv that the link goes back to, or ``current`` where it stays: it went back already.

    Raises:
        UnpackFailed: There is none.
        BundleRevoked: It is refused.
    """
    record = venvs.get(current) if current else None
    if current is None or record is None:
        raise UnpackFailed(
            f"{request.link} is no link to a venv of ours", hint="give the name of the link, without version"
        )
    if request.to == current or (record.left and not request.to):
        return current
    name = request.to or record.previous
    found = venvs.get(name)
    if found is None or found.name != request.link:
        raise _nothing(venvs, request, current)
    if found.archive in request.refused:
        raise BundleRevoked(
            f"{name} is of a bundle that is no longer trusted",
            hint="name another one with --to, or apply a newer bundle",
        )
    return name


def _nothing(venvs: Mapping[str, VenvRecord], request: GoBack, current: str) -> UnpackFailed:
    others = [name for name, one in venvs.items() if one.name == request.link and name != current]
    there = f"there are: {', '.join(others)}" if others else "there is no other"
    return UnpackFailed(
        f"{request.link} has no venv {request.to!r}" if request.to else f"there is no venv before {current} any more",
        hint=f"{there}; a higher --keep leaves more of them",
    )
