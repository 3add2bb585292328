"""Read requirements files and `pip freeze` output for adoption (pip's "Requirements File Format").

Files named by ``-r`` and ``-c`` are taken relative to the file that names them, as pip does.
"""

from __future__ import annotations

import codecs
import configparser
import os.path
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import tomli
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from bundler.errors import RequirementError
from bundler.model.adopt import Adopted, release_name
from bundler.model.constraint_lines import logical_lines
from bundler.model.constraints import scan_layer
from bundler.model.requirement import has_credentials, parse_requirement, redacted

Read = Callable[[Path], bytes]

_OPTION = re.compile(r"\s+(?=-{1,2}[A-Za-z])")
_HASH = re.compile(r"\s+--hash[=\s]\s*\S+")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
_LOCAL = re.compile(r"(?P<path>[^\[;]+?)(?P<extras>\[[^\]]*\])?\s*(?P<marker>;.*)?")
_MOST_FILES = 100
_ALIASES = {
    "--requirement": "-r",
    "--constraint": "-c",
    "--editable": "-e",
    "-i": "--index-url",
    "--pypi-url": "--index-url",
    "-f": "--find-links",
}
_VALUED = ("-r", "-c", "-e", "-i", "-f")
_HINTS = {
    "--pre": "name the pre-release versions that you want: name==2.0rc1",
    "--no-index": "remove it; with wheel_folders and no indexes name what must not come from elsewhere",
    "--no-binary": "a package without a wheel is compiled by itself; wheels of others are used",
    "--only-binary": "the coverage that `bundle-build lock` shows says what must be compiled",
    "--trusted-host": "give the host's CA bundle to pip's cert option or SSL_CERT_FILE",
    "--config-settings": "write it under build.packages.<name>.config_settings",
    "--config-setting": "write it under build.packages.<name>.config_settings",
    "-C": "write it under build.packages.<name>.config_settings",
    "--global-option": "write it under build.packages.<name>.config_settings",
}


@dataclass(kw_only=True)
class RequirementsReader:
    """Collect in ``adopted`` what files say; ``base`` is the directory of the manifest to be."""

    read: Read
    base: Path
    adopted: Adopted = field(default_factory=Adopted)
    _count: int = 0
    _hashes: int = 0

    def file(self, path: Path, stack: tuple[Path, ...] = (), asked: str = "") -> None:
        """Read the requirements file at ``path``, and all that it names; ``asked`` is the line that names it."""
        self._count += 1
        where = asked or self._relative(path)
        if path in stack:
            self.adopted.refuse(where, f"{self._relative(path)} includes itself")
            return
        if self._count > _MOST_FILES:
            self.adopted.refuse(where, f"more than {_MOST_FILES} nested files")
            return
        text = self._text(path, where)
        if text is None:
            return
        for number, line in logical_lines(text):
            self._line(line, f"{self._relative(path)}:{number}", (*stack, path))

    def finish(self) -> Adopted:
        """Return what was collected, with notes about the whole."""
        found = self.adopted
        if self._hashes:
            found.note("", f"{self._hashes} hashes are left out", "the lock records the hash of every file")
        if found.indexes and found.indexes[0]["name"] != "main":
            found.refuse("", "--extra-index-url without --index-url", "name the main index too, under indexes")
        return found

    def _line(self, line: str, where: str, stack: tuple[Path, ...]) -> None:
        if "${" in line:
            self.adopted.refuse(where, "variables like ${NAME} are not filled in", "write the value")
            return
        bare, hashes = _HASH.subn("", line)
        self._hashes += hashes
        if bare.startswith("-"):
            self._option(bare, where, stack)
            return
        requirement, *options = _OPTION.split(bare)
        for option in options:
            name = re.split(r"[\s=]", option, maxsplit=1)[0]
            self.adopted.refuse(where, f"{requirement.strip()}: the option {name}", _HINTS.get(name, ""))
        if not options:
            self._requirement(requirement, where, stack[-1].parent)

    def _option(self, line: str, where: str, stack: tuple[Path, ...]) -> None:
        try:
            words = shlex.split(line)
        except ValueError as error:
            self.adopted.refuse(where, f"{redacted(line)!r} does not parse: {error}")
            return
        name, value = _split_option(words)
        name = _ALIASES.get(name, name)
        if name == "--require-hashes":
            self.adopted.note(where, "--require-hashes is left out", "the lock records the hash of every file")
            return
        action = self._actions().get(name)
        if action is None:
            self.adopted.refuse(where, f"the option {name} cannot be carried over", _HINTS.get(name, ""))
        elif not value:
            self.adopted.refuse(where, f"{name} has no value")
        else:
            action(value, where, stack)

    def _actions(self) -> dict[str, Callable[[str, str, tuple[Path, ...]], None]]:
        return {
            "-r": self._nested,
            "-c": self._constraints,
            "-e": self._editable,
            "--index-url": lambda value, where, _: self._index(value, where, main=True),
            "--extra-index-url": lambda value, where, _: self._index(value, where, main=False),
            "--find-links": self._find_links,
        }

    def _nested(self, value: str, where: str, stack: tuple[Path, ...]) -> None:
        if "://" in value:
            self.adopted.refuse(where, f"-r {redacted(value)} is not fetched", "fetch it and name the file")
            return
        self.file(_resolve(stack[-1].parent, value), stack, where)

    def _constraints(self, value: str, where: str, stack: tuple[Path, ...]) -> None:
        stem = release_name(Path(urlsplit(value).path if "://" in value else value).stem)
        if "://" in value:
            if has_credentials(value):
                self.adopted.refuse(where, f"-c {redacted(value)} holds credentials", "keep them in netrc")
                return
            self.adopted.add_layer(stem, "url", value)
            return
        path = _resolve(stack[-1].parent, value)
        text = self._text(path, where)
        if text is None:
            return
        _, problems = scan_layer(stem, text, self._relative(path))
        self.adopted.problems.extend(problems)
        if problems:
            self.adopted.refuse(where, f"-c {value} as a whole", "correct the lines named above")
        else:
            self.adopted.add_layer(stem, "file", self._relative(path))

    def _editable(self, value: str, where: str, stack: tuple[Path, ...]) -> None:
        self.adopted.note(where, "an editable install becomes an ordinary one")
        self._requirement(value, where, stack[-1].parent)

    def _index(self, value: str, where: str, *, main: bool) -> None:
        if has_credentials(value):
            self.adopted.note(
                where, "credentials of the index are left out", "keep them in netrc, keyring or environment"
            )
            value = re.sub(r"//[^/?#\s]*@", "//", value, count=1)
        if urlsplit(value).scheme not in ("http", "https", "file"):
            self.adopted.refuse(where, f"the index {value!r} has no address", "write https://host/path")
            return
        self.adopted.add_index(value, main=main)

    def _find_links(self, value: str, where: str, stack: tuple[Path, ...]) -> None:
        if "://" in value and not value.startswith("file:"):
            self.adopted.refuse(where, f"--find-links {redacted(value)}", "copy the files into a folder")
            return
        self.adopted.add_folder(self._relative(_resolve(stack[-1].parent, _local_path(value))))

    def _requirement(self, text: str, where: str, directory: Path) -> None:
        try:
            if _is_local(text):
                self._local(text, directory)
                return
            if "://" in text and " @ " not in text and not text.startswith("git+"):
                text = f"{_name_of(text)} @ {text}"
            wanted = parse_requirement(text)
            if wanted.path is None:
                self.adopted.add_package(wanted.to_pep508() if wanted.git else text)
                return
            extras = f"[{','.join(wanted.extras)}]" if wanted.extras else ""
            marker = f" ; {wanted.marker}" if wanted.marker else ""
            self._local(f"{wanted.path}{extras}{marker}", directory, wanted.name)
        except RequirementError as error:
            self.adopted.refuse(where, error.message, error.hint)

    def _local(self, text: str, directory: Path, name: str = "") -> None:
        match = _LOCAL.fullmatch(text)
        if match is None:
            raise RequirementError(f"{redacted(text)!r} is no usable path")
        path = _resolve(directory, _local_path(match["path"].strip()))
        extras, marker = match["extras"] or "", f" {match['marker']}" if match["marker"] else ""
        if path.name.endswith(".whl"):
            project, version = _wheel(path.name)
            self.adopted.add_package(f"{project}{extras}=={version}{marker}")
            self.adopted.add_folder(self._relative(path.parent))
            return
        name = name or (_name_of(path.name) if path.name.endswith(_ARCHIVES) else self._project(path))
        place = self._relative(path)
        place = place if place.startswith(("../", "/")) else f"./{place}"
        requirement = f"{name}{extras} @ {place}{marker}"
        parse_requirement(requirement)
        self.adopted.add_package(requirement)

    def _project(self, directory: Path) -> str:
        """Return the name of the project in a source tree, as far as it is written down."""
        for file, find in (("pyproject.toml", _name_in_pyproject), ("setup.cfg", _name_in_setup_cfg)):
            try:
                name = find(self.read(directory / file).decode("utf-8"))
            except (OSError, ValueError, configparser.Error):
                continue
            if name:
                return name
        raise RequirementError(
            f"{self._relative(directory)} does not say which package it is", hint="write name @ ./directory"
        )

    def _text(self, path: Path, where: str) -> str | None:
        try:
            return _decode(self.read(path))
        except UnicodeError:
            self.adopted.refuse(where, f"{self._relative(path)} is not UTF-8 text")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.adopted.refuse(where, f"cannot read {self._relative(path)}: {reason}")
        return None

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.base)


def _resolve(directory: Path, value: str) -> Path:
    return Path(os.path.normpath(directory / value))


def _split_option(words: list[str]) -> tuple[str, str]:
    """Return name and value of ``-r x``, ``-rx``, ``--requirement x`` and ``--requirement=x``."""
    name, equals, value = words[0].partition("=")
    if equals and name.startswith("--"):
        return name, value
    if not words[0].startswith("--") and words[0][:2] in _VALUED and words[0][2:]:
        return words[0][:2], words[0][2:].removeprefix("=")
    return words[0], " ".join(words[1:])


def _is_local(text: str) -> bool:
    head = re.split(r"[;\[]", text, maxsplit=1)[0].strip()
    if head.startswith((".", "/", "file:")):
        return True
    return head.endswith(_ARCHIVES) and "://" not in head and "@" not in head


def _local_path(text: str) -> str:
    return unquote(urlsplit(text).path) if text.startswith("file:") else text


def _wheel(filename: str) -> tuple[str, str]:
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise RequirementError(f"{filename!r} is no wheel's file name") from error
    return name, str(version)


def _name_of(address: str) -> str:
    """Return the project whose archive is at ``address``."""
    filename = unquote(urlsplit(address).path.rpartition("/")[2])
    if filename.endswith(".whl"):
        return _wheel(filename)[0]
    try:
        return parse_sdist_filename(filename)[0]
    except InvalidSdistFilename:
        raise RequirementError(
            f"{redacted(address)!r} does not say which package it is", hint=f"write name @ {redacted(address)}"
        ) from None


def _decode(data: bytes) -> str:
    """Return the text; PowerShell writes UTF-16 with a byte-order mark."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if utf16 else "utf-8-sig")


def _name_in_pyproject(text: str) -> str:
    project = tomli.loads(text).get("project")
    name = project.get("name") if isinstance(project, dict) else None
    return name if isinstance(name, str) else ""


def _name_in_setup_cfg(text: str) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return parser.get("metadata", "name", fallback="")
