"""Which of several venvs is in use: a link beside them, switched in one step; old ones go, and one comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bundler import files
from bundler.deploy.venv_record import VenvRecord, read_record, venvs_in
from bundler.errors import UnpackFailed


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


def roll_back(into: Path, name: str) -> Path:
    """Switch the link ``name`` to the venv that was in use before; return that.

    Raises:
        UnpackFailed: There is none.
    """
    link = into / name
    current = linked_to(link)
    record = read_record(into / current) if current else None
    if record is None:
        raise UnpackFailed(f"{link} is no link to a venv of ours", hint="give the name of the link, without version")
    before = into / record.previous
    if not record.previous or read_record(before) is None:
        raise UnpackFailed(
            f"there is no venv before {current} any more",
            hint="unpack the one that you want; a higher --keep leaves more of them",
        )
    files.replace_link(link, before.name)
    return before
