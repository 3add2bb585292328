"""Whether the list of files and ``bundle.json`` speak of the same bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from bundler.bundle.layout import BUNDLE_JSON, EVIDENCE, INSTALLER, README, RELEASE_TXT, SUMS, VERIFY_SH
from bundler.errors import ContentsRefused, Problem
from bundler.model.contents import Contents
from bundler.model.tables import make_tables, release_facts

_ALWAYS = (BUNDLE_JSON, EVIDENCE, INSTALLER, README, VERIFY_SH)
_ARCHIVE = ".tar.zst"


def check_structure(contents: Contents, sums: Mapping[str, str]) -> None:
    """Refuse a list without what every bundle has, with other tables, or with volumes that nothing describes.

    A stock unpack takes every volume it sees, a repo host the tables: they must not say more than ``bundle.json``.

    Raises:
        ContentsRefused: Listing the problems.
    """
    problems = list(_problems(contents, sums))
    if problems:
        raise ContentsRefused(
            f"{SUMS} and {BUNDLE_JSON} do not fit: {problems[0]}",
            hint="the bundle was made wrong: build it again",
            problems=problems,
        )


def _problems(contents: Contents, sums: Mapping[str, str]) -> Iterator[Problem]:
    volumes = {volume.name for volume in contents.volumes}
    tables = {
        name: hashlib.sha256(data).hexdigest()
        for target in contents.targets
        for name, data in make_tables(contents, target.name).items()
    }
    tables[RELEASE_TXT] = hashlib.sha256(release_facts(contents)).hexdigest()
    for name in sorted({*_ALWAYS, *volumes, *tables} - sums.keys()):
        yield Problem(where=name, what=f"{SUMS} does not list it")
    for name in sorted(sums.keys() - volumes - {EVIDENCE}):
        if name.endswith(_ARCHIVE):
            yield Problem(where=name, what=f"is no volume of {BUNDLE_JSON}")
    for name in sorted(tables.keys() & sums.keys()):
        if sums[name] != tables[name]:
            yield Problem(where=name, what=f"says something else than {BUNDLE_JSON}")
