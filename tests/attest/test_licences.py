"""What licence a package declares."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.attest.licences import CLASSIFIERS, Licence, licence_of

MIT, BSD, OSI = ("License :: OSI Approved :: " + name for name in ("MIT License", "BSD License", ""))


def metadata(*lines: str) -> bytes:
    return "\n".join(["Metadata-Version: 2.4", "Name: x", "Version: 1", *lines, "", "License: GPL"]).encode()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: mit and (apache-2.0 or bsd-2-clause)"], "MIT AND (Apache-2.0 OR BSD-2-Clause)"),
        (["License-Expression: MIT", f"Classifier: {BSD}"], "MIT"),
        (["License: Apache-2.0"], "Apache-2.0"),
        (["License: BSD-3-Clause", f"Classifier: {BSD}"], "BSD-3-Clause"),
        (["License: Apache 2.0", "Classifier: License :: OSI Approved :: Apache Software License"], "Apache-2.0"),
        ([f"Classifier: {MIT}", f"Classifier: {OSI.rstrip(': ')}"], "MIT"),
        ([f"Classifier: {MIT}", f"Classifier: {BSD}"], "MIT, BSD License"),
        ([f"Classifier: {BSD}", "License: new BSD"], "new BSD"),
        (["License: UNKNOWN"], "unknown"),
        (["License: \n   \n   Long text\n   of a licence"], "Long text"),
        (["License-Expression: my own"], "my own"),
        ([], "unknown"),
    ],
)
def test_the_most_exact_declaration_wins(lines: list[str], expected: str) -> None:
    """An expression goes before a field that is one, before classifiers, before text; the description is not read."""
    assert str(licence_of(metadata(*lines))) == expected


def test_every_mapped_identifier_is_one_of_spdx() -> None:
    """The table of classifiers names identifiers that exist and are spelled canonically."""
    for identifier in CLASSIFIERS.values():
        assert licence_of(metadata(f"License-Expression: {identifier}")) == Licence(expression=identifier)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_licence(data: bytes) -> None:
    """Metadata that is garbage does not raise."""
    assert str(licence_of(b"License: " + data))
