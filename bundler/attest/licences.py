"""The licence that a package declares, from its core metadata. Pure.

In order: ``License-Expression`` (PEP 639); a ``License`` field that is itself an SPDX expression; classifiers that
name one licence; what is left, as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.metadata import RawMetadata, parse_email

_PREFIX = "License :: "
_TEXT_LIMIT = 200
_NOTHING = frozenset({"", "unknown", "none", "other", "license", "see license"})
#: Classifiers that stand for exactly one SPDX identifier (``BSD License`` and plain ``GPL`` do not).
CLASSIFIERS: Mapping[str, str] = {
    "Academic Free License (AFL)": "AFL-3.0",
    "Apache Software License": "Apache-2.0",
    "Artistic License": "Artistic-2.0",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
    "zlib/libpng License": "Zlib",
}


@dataclass(frozen=True, kw_only=True)
class Licence:
    """A declared licence: an SPDX ``expression``, else single SPDX ``ids``, and ``names`` that are no identifiers."""

    expression: str = ""
    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.expression or ", ".join((*self.ids, *self.names)) or "unknown"


def licence_of(metadata: bytes) -> Licence:
    """Return the licence that core metadata (the bytes of ``METADATA``) declares."""
    raw, _ = parse_email(metadata)
    for text in (raw.get("license_expression", ""), raw.get("license", "")):
        expression = _expression(text)
        if expression:
            return Licence(expression=expression)
    ids, names = _classified(raw)
    if ids and not names:
        return Licence(ids=ids)
    text = _text(raw.get("license_expression", "")) or _text(raw.get("license", ""))
    return Licence(ids=ids, names=(text,) if text and not ids else names)


def _expression(text: str) -> str:
    """Return the canonical SPDX expression that ``text`` is, or nothing."""
    if len(text) > _TEXT_LIMIT:
        return ""
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return ""


def _classified(raw: RawMetadata) -> tuple[tuple[str, ...], tuple[str, ...]]:
    leaves = {
        classifier.rpartition(" :: ")[2]
        for classifier in raw.get("classifiers", ())
        if classifier.startswith(_PREFIX) and classifier != "License :: OSI Approved"
    }
    ids = {CLASSIFIERS[leaf] for leaf in leaves if leaf in CLASSIFIERS}
    return tuple(sorted(ids)), tuple(sorted(leaves - CLASSIFIERS.keys()))


def _text(text: str) -> str:
    """Return the first line that says something, shortened."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return next((line[:_TEXT_LIMIT] for line in lines if line.lower() not in _NOTHING), "")
