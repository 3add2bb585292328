"""What uv's explanation of a conflict says, as who wants what. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bundler.errors import Problem
from bundler.resolve.port import CONSTRAINT, REQUESTED
from bundler.resolve.uv_project import PROJECT, without_credentials

NO_SOLUTION = "No solution found"
NO_WHEEL = "-compatible wheels"
_SENTENCE_END = re.compile(r"(?:\.\s|\.$|, we can conclude|\(\d+\))")
_AND = re.compile(r",? and |,\s+(?=\S+ depends? on)")
_VERB = re.compile(r"(?P<source>.*)\bdepends? on (?P<wanted>.*)")
_NOT_FOUND = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])? was not found in the package registry")
_NO_VERSION = re.compile(r"there (?:is|are) no versions? of (?P<wanted>\S+)")
_REFUSED = re.compile(r"index URL \((?P<url>\S+)\)[^\n]*credentials \((?P<status>[^)]*)\)", re.IGNORECASE)
_FETCH = re.compile(r"Failed to fetch: `?(?P<url>[^\s`]+)")
_CAUSE = re.compile(r"^\s*cause: (?P<cause>.*\S)", re.MULTILINE)
_MISMATCH = re.compile(
    r"Hash mismatch for `(?P<what>[^`]+)`\s+Expected:\s+(?P<expected>\S+)[\s\S]*?Computed:\s+(?P<computed>\S+)"
)
_ONE_OF = "one of:"


def read_conflict(text: str, bound: Mapping[str, str] = MappingProxyType({})) -> tuple[Problem, ...]:
    """Return the requirements in uv's explanation: ``where`` wants ``what``; ``bound`` are indexes by package.

    uv does not tell a constraint from a requirement of the project: callers that know the constraints do.
    """
    flat = " ".join(text.split())
    found = [*_edges(flat), *_absent(flat, bound)]
    return tuple(dict.fromkeys(found))


def refusals(text: str) -> tuple[tuple[str, str], ...]:
    """Return the indexes that refused to answer (HTTP 401, 403), by their addresses, and what they said."""
    found = ((without_credentials(match["url"]), match["status"]) for match in _REFUSED.finditer(text))
    return tuple(dict.fromkeys(found))


def unfetched(text: str) -> tuple[str, str] | None:
    """Return the address that could not be read, and the innermost reason; None where uv failed otherwise."""
    match = _FETCH.search(text)
    if match is None:
        return None
    causes = _CAUSE.findall(text, match.end())
    return without_credentials(match["url"]), causes[-1] if causes else "no reason is given"


def mismatched(text: str) -> tuple[str, str, str] | None:
    """Return the package whose bytes are not what its index says, what that says, and what they are."""
    match = _MISMATCH.search(text)
    return None if match is None else (match["what"], match["expected"], match["computed"])


def _edges(text: str) -> Iterator[Problem]:
    for sentence in _SENTENCE_END.split(text):
        asker = ""
        for clause in _AND.split(sentence):
            match = _VERB.fullmatch(clause)
            if match:
                asker = _asker(match["source"])
            yield from _one(asker, match["wanted"] if match else clause, verb=bool(match))


def _asker(source: str) -> str:
    word = source.rsplit(maxsplit=1)[-1] if source.split() else ""
    return REQUESTED if word.partition("[")[0] in (PROJECT, "you", "project") else word


def _one(asker: str, wanted: str, *, verb: bool) -> Iterator[Problem]:
    text = wanted.strip().rstrip(",.")
    if not asker or not text or (not verb and " " in text):
        return
    alternatives = text.removeprefix(_ONE_OF).split() if text.startswith(_ONE_OF) else text.split()[:1]
    words = [word.rstrip(",") for word in alternatives]
    if all(map(_is_requirement, words)):
        yield Problem(where=asker if verb else CONSTRAINT, what=" or ".join(words))


def _is_requirement(word: str) -> bool:
    try:
        Requirement(word.replace("==*", ""))
    except InvalidRequirement:
        return False
    return True


def _absent(text: str, bound: Mapping[str, str]) -> Iterator[Problem]:
    for match in _NOT_FOUND.finditer(text):
        name = canonicalize_name(match["name"])
        place = f"not in the index {bound[name]}, to which it is bound" if name in bound else "in no index"
        yield Problem(where="", what=f"{name} is {place}")
    for match in _NO_VERSION.finditer(text):
        yield Problem(where="", what=f"there is no version {match['wanted'].rstrip(',.')}")
