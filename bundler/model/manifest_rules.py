"""Rules of the manifest that span several fields, each checked on its own so that all problems show at once.

They read the tree, not the models: a rule still speaks where another field is wrong.
"""

from __future__ import annotations

import functools
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from bundler.errors import BundlerError, Problem, RequirementError
from bundler.model.constraints import scan_layer
from bundler.model.manifest_check import problem_at
from bundler.model.manifest_tree import FieldPath, Located, child, find, locate
from bundler.model.nearest import nearest
from bundler.model.plan import target_keys
from bundler.model.requirement import CREDENTIALS_HINT, has_credentials, parse_requirement, redacted
from bundler.model.target import known_target
from bundler.model.target_names import ARCHES, DISTROS

_REQUIREMENTS = (
    "default_packages.*",
    "seed_packages.*",
    "venvs.*.packages.*",
    "venvs.*.groups.*.*",
    "venvs.*.build_requirements.*",
    "venvs.*.targets.*.packages.*",
    "build.packages.*.requires.*",
)
_CONSTRAINTS = ("build.constraints", "constraints.*.lines", "venvs.*.constraints.layers.*.lines")
_LAYERS = ("constraints", "venvs.*.constraints.layers")
_URLS = (
    "indexes.*.url",
    *(f"{layers}.*.url" for layers in _LAYERS),
    *(f"{layers}.*.git.url" for layers in _LAYERS),
)
_OSA_LINES = tuple(
    f"{where}openstack_ansible.{lines}.*"
    for where in ("", "venvs.*.")
    for lines in ("requirements", "global_constraints", "source_constraints")
)
_LISTS = (
    *(f"venvs.*.distro_packages.{part}" for part in ("build", "runtime")),
    *(f"venvs.*.targets.*.distro_packages.{part}" for part in ("build", "runtime")),
)
_CHOICES = ("systems", "venvs.*.targets", *_LISTS)
_NAMES = ("venvs.*.targets.*.remove.*", "indexes.*.packages.*")
_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION_OF = re.compile(r"\{version\[[A-Za-z0-9._-]+\]\}")
_ORIGINS = ("file", "git", "lines", "url")
_EVERY_TARGET = frozenset(f"{system}-{arch}" for system in DISTROS for arch in ARCHES)


def check_rules(tree: Located) -> Iterator[Problem]:
    """Yield every problem that the models cannot see."""
    for rule in _RULES:
        yield from rule(tree)


def texts(tree: Located, *patterns: str) -> Iterator[tuple[FieldPath, str]]:
    """Yield the texts at all paths that fit one of ``patterns``."""
    for pattern in patterns:
        for path, found in find(tree, pattern):
            if isinstance(found.value, str):
                yield path, found.value


def names(tree: Located | None) -> list[str]:
    """Return the keys of a mapping, or the texts of a list; nothing of anything else."""
    if tree is None or isinstance(tree.value, str):
        return []
    if isinstance(tree.value, dict):
        return list(tree.value)
    return [item.value for item in tree.value or () if isinstance(item.value, str)]


def _requirements(tree: Located) -> Iterator[Problem]:
    for path, line in texts(tree, *_REQUIREMENTS):
        yield from _parses(tree, path, line)


def _parses(tree: Located, path: FieldPath, line: str) -> Iterator[Problem]:
    try:
        parse_requirement(line)
    except RequirementError as error:
        yield problem_at(tree, path, error.message, error.hint)


def _project_names(tree: Located) -> Iterator[Problem]:
    keys = [(path, str(path[-1])) for path, _ in find(tree, "build.packages.*")]
    for path, name in (*texts(tree, *_NAMES), *keys):
        if _PROJECT.fullmatch(name) is None:
            yield problem_at(
                tree, path, f"{redacted(name)!r} is no package name", "the name alone, without a version"
            )
    seen: dict[str, str] = {}
    for path, name in keys:
        other = seen.setdefault(str(canonicalize_name(name)), name)
        if other != name:
            yield problem_at(tree, path, f"{name!r} is the same package as {other!r}", "put both into one")


def _addresses(tree: Located) -> Iterator[Problem]:
    for path, url in texts(tree, *_URLS):
        if has_credentials(url):
            yield problem_at(tree, path, f"{redacted(url)!r} has credentials in it", CREDENTIALS_HINT)
        elif not _is_address(url, git="git" in path):
            yield problem_at(tree, path, f"{redacted(url)!r} is no usable address", "write https://host/path")


def _osa_lines(tree: Located) -> Iterator[Problem]:
    """Yield credentials in what every host of a site may read; the lines themselves are OpenStack-Ansible's."""
    for path, line in texts(tree, *_OSA_LINES):
        if has_credentials(line):
            yield problem_at(tree, path, f"{redacted(line)!r} has credentials in it", CREDENTIALS_HINT)


def _is_address(url: str, *, git: bool) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    remote = ("https", "http", "ssh", "git") if git else ("https", "http")
    return parts.scheme == "file" or (parts.scheme in remote and bool(parts.hostname))


def _layers(tree: Located) -> Iterator[Problem]:
    for pattern in _LAYERS:
        for parent, layers in find(tree, pattern):
            seen: dict[str, FieldPath] = {}
            for path, layer in ((parent + tuple(path), one) for path, one in find(layers, "*")):
                given = sorted(set(names(layer)) & set(_ORIGINS)) if isinstance(layer.value, dict) else ["?"]
                if len(given) != 1:
                    what = f"has {' and '.join(given)}" if given else "has no content"
                    yield problem_at(tree, path, what, "give exactly one of file, url, git and lines")
                if "signers" in names(layer) and "lines" in given:
                    yield problem_at(tree, (*path, "signers"), "lines that stand here have no signature", "remove it")
                name = child(layer, "name")
                if name is not None and isinstance(name.value, str):
                    if name.value in seen:
                        yield problem_at(
                            tree, path, f"a second layer called {name.value!r}", "give each its own name"
                        )
                    seen[name.value] = path


def _constraint_lines(tree: Located) -> Iterator[Problem]:
    """Yield what is wrong with constraints that stand in the manifest, contradictions among them."""
    for pattern in _CONSTRAINTS:
        for path, lines in find(tree, pattern):
            listed = names(lines)
            for problem in scan_layer("", "\n".join(listed), "line")[1]:
                number = int(problem.where.rpartition(":")[2])
                yield problem_at(tree, (*path, min(number, len(listed)) - 1), problem.what, problem.hint)


def _indexes(tree: Located) -> Iterator[Problem]:
    called: set[str] = set()
    for path, name in texts(tree, "indexes.*.name"):
        if name in called:
            yield problem_at(tree, path, f"a second index called {name!r}", "give each its own name")
        called.add(name)
    bound: dict[str, FieldPath] = {}
    for path, name in texts(tree, "indexes.*.packages.*"):
        key = str(canonicalize_name(name))
        other = bound.setdefault(key, path[:2])
        if other != path[:2]:
            index = next((text for _, text in texts(tree, f"indexes.{other[1]}.name")), "")
            yield problem_at(tree, path, f"{name} is bound to index {index} too", "a package belongs to one index")


def _targets(tree: Located) -> Iterator[Problem]:
    seen: set[str] = set()
    for path, name in texts(tree, "targets.*"):
        if name in seen:
            yield problem_at(tree, path, f"target {name} is listed twice", "remove one")
        seen.add(name)
        if name != "auto":
            try:
                known_target(name)
            except BundlerError as error:
                close = nearest(name, (*_EVERY_TARGET, "auto"))
                yield problem_at(tree, path, error.message, close if close.startswith("did") else error.hint)


def _groups(tree: Located) -> Iterator[Problem]:
    for path, venv in find(tree, "venvs.*"):
        groups = names(child(venv, "groups"))
        for number, name in enumerate(names(child(venv, "enable"))):
            if name not in groups:
                hint = nearest(name, groups) or "the venv has no groups"
                yield problem_at(tree, (*path, "enable", number), f"there is no group {name!r}", hint)


def _empty(tree: Located) -> Iterator[Problem]:
    for path, venv in find(tree, "venvs.*"):
        keys = set(names(venv)) if isinstance(venv.value, dict) else {"packages"}
        if "packages" not in keys and "enable" not in keys:
            yield problem_at(tree, path, "has no packages", "list what it is made for under packages:")


def _overrides(tree: Located) -> Iterator[Problem]:
    listed = names(child(tree, "targets")) or ["auto"]
    allowed = {key for name in listed for key in _keys_of(name)}
    known = {*_keys_of("auto"), *allowed, "default"}
    for pattern in ("venvs.*.targets.*", "systems.*"):
        for path, _ in find(tree, pattern):
            # A file that is included may be written for more targets than are listed here.
            own = locate(tree, path)[0].rpartition(":")[0] == tree.file
            yield from _selects(tree, path, allowed if own else known - {"default"}, "no listed target is called so")
    for pattern in _LISTS:
        for path, _ in find(tree, f"{pattern}.*"):
            if isinstance(path[-1], str):
                yield from _selects(tree, path, known, "selects no known target")


def _selects(tree: Located, path: FieldPath, allowed: Iterable[str], what: str) -> Iterator[Problem]:
    given = str(path[-1])
    key = given.lower()
    if key not in allowed and re.sub(r"-py3[0-9]{1,2}$", "", key) not in allowed:
        yield problem_at(tree, path, f"{given!r}: {what}", nearest(key, allowed))


def _spelled_twice(tree: Located) -> Iterator[Problem]:
    """Yield keys of targets that differ in case alone: both select the same."""
    for pattern in _CHOICES:
        for path, mapping in find(tree, pattern):
            seen: dict[str, str] = {}
            for key in names(mapping) if isinstance(mapping.value, dict) else []:
                other = seen.setdefault(key.lower(), key)
                if other != key:
                    what = f"{key!r} is the same key as {other!r}"
                    yield problem_at(tree, (*path, key), what, "put both into one")


@functools.cache
def _keys_of(name: str) -> frozenset[str]:
    """Return what may select the target: anything known for ``auto``."""
    if name == "auto":
        return frozenset(key for one in _EVERY_TARGET for key in target_keys(known_target(one)))
    try:
        return frozenset(target_keys(known_target(name)))
    except BundlerError:
        return frozenset({name})


def _paths(tree: Located) -> Iterator[Problem]:
    taken: dict[tuple[str, str], str] = {}
    for path, install in texts(tree, "venvs.*.path"):
        if {".", ".."} & set(install.split("/")):
            yield problem_at(tree, path, f"{install!r} has . or .. in it", "write the install path in full")
        base, venv = posixpath.basename(install), str(path[1])
        others = [taken.setdefault((target, base), venv) for target in _built_for(tree, venv)]
        clash = next((other for other in others if other != venv), None)
        if clash is not None:
            what = f"the archive name {base!r} is that of venvs.{clash} too"
            yield problem_at(tree, path, what, "the last part of the install path must differ")


def _built_for(tree: Located, venv: str) -> Iterator[str]:
    """Yield the listed targets that the venv is built for, with its Python, without those that it skips."""
    python = next((text for _, text in texts(tree, f"venvs.{venv}.python")), "")
    skipped = {str(path[-2]).lower(): text for path, text in texts(tree, f"venvs.{venv}.targets.*.skip")}
    overrides = [str(path[-1]).lower() for path, _ in find(tree, f"venvs.{venv}.targets.*")]
    for name in names(child(tree, "targets")) or ["auto"]:
        keys = () if name == "auto" else _ordered_keys(name)
        chosen = next((key for key in keys if key in overrides), "")
        if skipped.get(chosen, "").lower() not in ("true", "yes", "on", "1"):
            yield f"{name} {python}"


def _ordered_keys(name: str) -> tuple[str, ...]:
    try:
        return target_keys(known_target(name))
    except BundlerError:
        return (name,)


def _smoke(tree: Located) -> Iterator[Problem]:
    for path, command in texts(tree, "venvs.*.smoke.*.run"):
        wrong = _wrong_command(command)
        if wrong:
            yield problem_at(tree, path, f"not a command line: {wrong}", "write it as for a shell, without pipes")
    for path, expression in texts(tree, "venvs.*.smoke.*.expect"):
        wrong = _wrong_expression(expression)
        if wrong:
            yield problem_at(tree, path, f"not a regular expression: {wrong}", "a backslash makes a sign literal")


def _wrong_command(command: str) -> str:
    try:
        return "" if shlex.split(command) else "it is empty"
    except ValueError as error:
        return str(error)


def _wrong_expression(expression: str) -> str:
    try:
        re.compile(_VERSION_OF.sub("1", expression))
    except (re.error, RecursionError, OverflowError) as error:
        return str(error)
    return ""


_RULES: tuple[Callable[[Located], Iterator[Problem]], ...] = (
    _requirements,
    _constraint_lines,
    _project_names,
    _addresses,
    _osa_lines,
    _layers,
    _indexes,
    _targets,
    _groups,
    _empty,
    _overrides,
    _spelled_twice,
    _paths,
    _smoke,
)
