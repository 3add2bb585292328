"""Accept and Range as RFC 9110 has them, and paths as they may be asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.model.accept import choose, parse_accept
from bundler.model.byte_range import Unsatisfiable, parse_range
from bundler.serving.root import NotServed, clean, normalised


@pytest.mark.parametrize(
    ("field", "chosen"),
    [
        ("a/x, a/y", "a/x"),
        ("a/x;q=0.1, a/y;q=0.2", "a/y"),
        ("a/*;q=0.5, a/x;q=0", "a/y"),
        ("*/*, a/x;q=0.3", "a/y"),
        ("*/*", "a/x"),
        ("a/y;q=nonsense, b/z", "default"),
        ("A/Y ; Q=1.0", "a/y"),
        ("a/y;version=1;q=0.5,a/x;q=0.4", "a/y"),
        ("", "default"),
        (",,;q=1,/", "default"),
    ],
)
def test_the_best_offer_is_chosen(field: str, chosen: str) -> None:
    """A named type counts before a range of types, the higher quality before the lower, of equals the first offer."""
    assert choose(field, ("a/x", "a/y"), "default") == chosen


@given(st.text(max_size=300))
def test_any_accept_can_be_read(field: str) -> None:
    """Whatever a client sends, ranges have a type and a quality from 0 to 1."""
    assert all("/" in one.kind and 0 <= one.quality <= 1 for one in parse_accept(field))


@given(first=st.integers(0, 200), last=st.integers(0, 200), size=st.integers(0, 150))
def test_a_range_is_what_slicing_gives(first: int, last: int, size: int) -> None:
    """The bytes of a range are those of a slice; one of none is refused, one that runs backwards is no range."""
    data = bytes(size % 251 for size in range(size))
    wanted = data[first : last + 1]

    if last < first:
        assert parse_range(f"bytes={first}-{last}", size) is None
    elif not wanted:
        with pytest.raises(Unsatisfiable):
            parse_range(f"bytes={first}-{last}", size)
    else:
        part = parse_range(f"bytes={first}-{last}", size)
        assert part is not None
        assert data[part.start : part.start + part.length] == wanted
        assert part.content_range == f"bytes {first}-{first + len(wanted) - 1}/{size}"


@pytest.mark.parametrize("field", ["", "bytes", "bytes=-", "bytes=1-2,4-5", "items=0-1", "bytes=a-b", "bytes=--1"])
def test_other_ranges_mean_the_whole(field: str) -> None:
    """What is no single range of bytes is answered with all of them."""
    assert parse_range(field, 100) is None


@given(st.text(alphabet="ab./%2e?#\\\0:é ", max_size=40))
@settings(max_examples=300)
def test_no_path_leads_upwards(target: str) -> None:
    """What comes out of any target is relative and has no part that begins with a dot."""
    try:
        path = clean(target)
    except NotServed:
        return

    assert not path.startswith(b"/")
    assert not any(part.startswith(b".") for part in path.split(b"/"))
    assert b"\0" not in path
    assert normalised(path).count(b"/") == path.count(b"/")
