"""Local facts for Ansible, as OpenStack-Ansible's python_venv_build role writes them.

``/etc/ansible/facts.d/<file>.fact`` is INI: ``[nova]`` and ``venv_tag = 33.0.1``, read as
``ansible_local.<file>.nova.venv_tag``. Other sections, options and comments stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import UnpackFailed, UsageError
from bundler.files import write_if_changed

DIRECTORY = Path("/etc/ansible/facts.d")
_SECTION = re.compile(r"\s*\[(?P<name>[^\]]*)\]")
_FACT = re.compile(r"(?P<file>[^:\s]+):(?P<section>[^:\[\]\n]+):(?P<option>[^:=\[\n#;]+)=(?P<value>[^\n]*)")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """An option of a section of a file."""

    file: Path
    section: str
    option: str
    value: str


def parse_fact(text: str) -> Fact:
    """Return the fact in ``FILE:SECTION:OPTION=VALUE``; FILE is a path, or a name in Ansible's directory.

    Raises:
        UsageError: It is not of that form.
    """
    match = _FACT.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no fact", hint="e.g. openstack_ansible:nova:venv_tag=33.0.1")
    file = match["file"]
    path = Path(file) if "/" in file else DIRECTORY / f"{file.removesuffix('.fact')}.fact"
    return Fact(
        file=path, section=match["section"].strip(), option=match["option"].strip(), value=match["value"].strip()
    )


def write_fact(fact: Fact) -> bool:
    """Write a fact; return whether its file changed.

    Raises:
        UnpackFailed: What is there cannot be read.
        SpaceError: There is no room.
    """
    try:
        text = fact.file.read_text("utf-8") if fact.file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UnpackFailed(f"cannot read {fact.file}: {error}") from error
    return write_if_changed(fact.file, with_fact(text, fact).encode())


def with_fact(text: str, fact: Fact) -> str:
    """Return the INI file ``text`` with the fact in it."""
    lines = text.splitlines()
    wanted = f"{fact.option} = {fact.value}"
    begin = next((at for at, line in enumerate(lines) if _section(line) == fact.section), None)
    if begin is None:
        gap = [""] if lines and lines[-1] else []
        return "\n".join([*lines, *gap, f"[{fact.section}]", wanted, ""])
    end = next((at for at in range(begin + 1, len(lines)) if _section(lines[at]) is not None), len(lines))
    option = re.compile(rf"\s*{re.escape(fact.option)}\s*[=:]\s*(?P<value>.*?)\s*")
    for at in range(begin + 1, end):
        match = option.fullmatch(lines[at])
        if match:
            lines[at] = lines[at] if match["value"] == fact.value else wanted
            break
    else:
        while not lines[end - 1].strip():
            end -= 1
        lines.insert(end, wanted)
    return "\n".join([*lines, ""])


def _section(line: str) -> str | None:
    match = _SECTION.match(line)
    return match["name"] if match else None
