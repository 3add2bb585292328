"""``trust.json`` and ``distrust.json``: one form, read strictly; nothing but our own errors whatever the bytes."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import FormatError
from bundler.model.trust import BUNDLE_SIGNERS, POLICY, ROOT_SIGNERS, Distrust, TrustDocument, TrustedSigner
from bundler.model.trust_json import (
    MAX_TRUST_JSON,
    check_trust,
    format_distrust,
    format_trust,
    parse_distrust,
    parse_trust,
    render,
)


def key(number: int) -> str:
    return "ssh-ed25519 " + base64.b64encode(number.to_bytes(33, "big")).decode()


@st.composite
def documents(draw: st.DrawFn) -> TrustDocument:
    """Return documents that can be meant, in their sorted form."""
    names = draw(st.lists(st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True), min_size=2, max_size=6, unique=True))
    roots = draw(st.integers(1, len(names) - 1))
    signers = tuple(
        TrustedSigner(name=name, role="root" if at < roots else "bundle", keys=(key(2 * at), key(2 * at + 1)))
        for at, name in enumerate(names)
    )
    numbers = st.dictionaries(
        st.from_regex(r"[a-z0-9][a-z0-9.+-]{0,20}", fullmatch=True), st.integers(0, 2**53 - 1), max_size=3
    )
    return TrustDocument(
        version=draw(st.integers(1, 9999)),
        signers=tuple(sorted(signers, key=lambda one: (one.role, one.name))),
        root_threshold=draw(st.integers(1, roots)),
        bundle_threshold=draw(st.integers(1, len(names) - roots)),
        epochs=draw(numbers),
        floors=draw(numbers),
        revoked_keys=(key(99),) if draw(st.booleans()) else (),
        revoked_bundles=("ab" * 32,) if draw(st.booleans()) else (),
    )


@given(documents())
def test_a_document_is_read_as_it_was_written(document: TrustDocument) -> None:
    """Formatting and parsing are inverse, and the same document gives the same bytes."""
    data = format_trust(document)

    assert parse_trust(data) == document
    assert format_trust(parse_trust(data)) == data


@given(documents())
def test_what_sh_reads_is_plain_lines(document: TrustDocument) -> None:
    """The files for sh and ssh-keygen are sorted ASCII lines of the promised words; roles do not mix."""
    files = render(document)

    for name in (ROOT_SIGNERS, BUNDLE_SIGNERS, POLICY):
        lines = files[name].decode("ascii").splitlines()
        assert lines == sorted(lines)
        assert lines
    assert b"bundle@offline" not in files[ROOT_SIGNERS]
    assert b"trust@offline" not in files[BUNDLE_SIGNERS]
    words = {line.partition(" ")[0]: len(line.split(" ")) for line in files[POLICY].decode().splitlines()}
    assert words.items() <= {"version": 2, "threshold": 3, "epoch": 3, "floor": 3, "revoked-bundle": 2}.items()


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_noise_is_a_format_error(data: bytes) -> None:
    """Whatever is in the place of a document, nothing but FormatError is raised."""
    for parse in (parse_trust, parse_distrust):
        with pytest.raises(FormatError):
            parse(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def written(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def good() -> dict[str, Any]:
    signers = (
        TrustedSigner(name="r", role="root", keys=(key(1),)), TrustedSigner(name="a", role="bundle", keys=(key(2),)),
    )  # fmt: skip
    value: dict[str, Any] = json.loads(format_trust(TrustDocument(version=1, signers=signers)))
    return value


@given(st.sampled_from(sorted(good())), JSON)
def test_any_value_in_any_field_is_read_or_refused(field: str, value: Any) -> None:
    """A field with another value is either a document or a FormatError."""
    with contextlib.suppress(FormatError):
        check_trust(parse_trust(written({**good(), field: value})))


@pytest.mark.parametrize("field", sorted(good()))
def test_every_field_is_needed(field: str) -> None:
    """Nothing has a default that somebody could count on."""
    value = good()
    del value[field]

    with pytest.raises(FormatError, match=field):
        parse_trust(written(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"comment": ""}, "'comment' is not known"),
        ({"format": 2}, "format 2 is not known"),
        ({"version": 0}, "must be from 1 to 9999"),
        ({"version": 10_000}, "must be from 1 to 9999"),
        ({"thresholds": {"root": 0, "bundle": 1}}, "0 of 1 root signers cannot be"),
        ({"thresholds": {"root": 1, "bundle": 2}}, "2 of 1 bundle signers cannot be"),
        ({"thresholds": {"root": True, "bundle": 1}}, "must be a whole number"),
        ({"floors": {"a b": 1}}, "is no name of a bundle"),
        ({"floors": {"demo": -1}}, "must be at least 0"),
        ({"revoked_keys": [key(2)]}, "1 of 0 bundle signers cannot be"),
        ({"revoked_keys": ["ssh-ed25519 AAAA\nssh-ed25519 AAAA"]}, "not printable"),
        ({"revoked_bundles": ["AB" * 32]}, "SHA-256"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], message: str) -> None:
    """Unknown fields, thresholds that nobody can reach, names and keys that would break a line."""
    with pytest.raises(FormatError, match=message):
        parse_trust(written({**good(), **change}))


@pytest.mark.parametrize(
    ("signers", "message"),
    [
        ([("r", "root", [1]), ("a", "bundle", [1])], "one key, twice"),
        ([("r", "root", [1]), ("a", "bundle", [2]), ("b", "bundle", [2])], "a and b: one key, twice"),
        ([("r", "root", [1]), ("r", "root", [3]), ("a", "bundle", [2])], "is listed twice"),
        ([("r", "root", []), ("a", "bundle", [2])], "1 of 0 root signers"),
        ([("r", "admin", [1])], "does not have the form"),
        ([("*", "root", [1])], "does not have the form"),
    ],
)
def test_signers_are_told_apart(signers: list[tuple[str, str, list[int]]], message: str) -> None:
    """One key belongs to one person in one role; names are plain."""
    listed = [{"name": name, "role": role, "keys": [key(one) for one in keys]} for name, role, keys in signers]

    with pytest.raises(FormatError, match=message):
        parse_trust(written({**good(), "signers": listed}))


def test_all_contradictions_are_listed() -> None:
    """Each thing that is wrong is a problem of its own."""
    value = {**good(), "version": 0, "thresholds": {"root": 5, "bundle": 5}, "revoked_bundles": []}

    with pytest.raises(FormatError) as caught:
        parse_trust(written(value))

    assert len(caught.value.problems) == 3


def test_a_key_twice_and_a_huge_document_are_refused() -> None:
    """JSON that says a thing twice is not read, nor anything larger than the cap."""
    with pytest.raises(FormatError, match="occurs twice"):
        parse_trust(written(good()).replace(b'"version"', b'"format"'))
    with pytest.raises(FormatError, match="is larger"):
        parse_trust(bytes(MAX_TRUST_JSON + 1))


def test_distrust_is_read_as_it_was_written() -> None:
    """Signers, fingerprints and digests, sorted, each once."""
    distrust = Distrust(signers=("b", "a", "a"), keys=("SHA256:" + "A" * 43,), bundles=("ab" * 32,))

    found = parse_distrust(format_distrust(distrust))

    assert found == Distrust(signers=("a", "b"), keys=distrust.keys, bundles=distrust.bundles)


@pytest.mark.parametrize(
    "change", [{"signers": ["A B"]}, {"keys": ["SHA256:short"]}, {"bundles": ["ab"]}, {"key": []}]
)
def test_distrust_that_would_take_nothing_away_is_refused(change: dict[str, Any]) -> None:
    """A slip of the hand in the file is an error: silently, it would leave somebody trusted."""
    with pytest.raises(FormatError):
        parse_distrust(json.dumps({"signers": [], "keys": [], "bundles": [], **change}).encode())
