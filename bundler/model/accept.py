"""Which of several media types does a client want? The ``Accept`` field of RFC 9110, section 12.5.1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: The pages of PEP 691 and PEP 503. Where nothing is asked for it is the oldest: that is what browsers can show.
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
SIMPLE_HTML = "application/vnd.pypi.simple.v1+html"
HTML = "text/html"

#: PEP 691 lets clients ask for whatever is newest; version 1 is all there is.
_ALIASES = {
    "application/vnd.pypi.simple.latest+json": SIMPLE_JSON,
    "application/vnd.pypi.simple.latest+html": SIMPLE_HTML,
}
_MOST = 100


@dataclass(frozen=True, kw_only=True)
class MediaRange:
    """One element of the field: a type or a range of types, and how much it is wanted, 0 to 1."""

    kind: str
    quality: float

    def covers(self, offer: str) -> int:
        """Return how exactly the range names ``offer``: 3 by name, 2 by its kind, 1 by ``*/*``, 0 not at all."""
        if self.kind == offer:
            return 3
        if self.kind == f"{offer.partition('/')[0]}/*":
            return 2
        return 1 if self.kind == "*/*" else 0


def parse_accept(field: str) -> tuple[MediaRange, ...]:
    """Return the ranges of a field; elements that make no sense are passed over, as are all after the hundredth."""
    ranges = []
    for element in field.split(",")[:_MOST]:
        kind, *parameters = (part.strip().lower() for part in element.split(";"))
        quality = _quality(parameters)
        if "/" in kind and quality is not None:
            ranges.append(MediaRange(kind=_ALIASES.get(kind, kind), quality=quality))
    return tuple(ranges)


def choose(field: str, offers: Sequence[str], default: str) -> str:
    """Return the offer that a client wants most, of equals the first; ``default`` if it wants none of them."""
    ranges = parse_accept(field)
    best, most = default, 0.0
    for offer in offers:
        wanted = _wanted(ranges, offer)
        if wanted > most:
            best, most = offer, wanted
    return best


def choose_page(field: str) -> str:
    """Return the type in which a client wants a page of the simple API. ``*/*`` and nothing at all mean HTML."""
    named = ",".join(element for element in field.split(",")[:_MOST] if "*" not in element)
    return choose(named, (SIMPLE_JSON, SIMPLE_HTML, HTML), HTML)


def _wanted(ranges: Sequence[MediaRange], offer: str) -> float:
    found = [(one.covers(offer), one.quality) for one in ranges]
    return max((one for one in found if one[0]), default=(0, 0.0))[1]


def _quality(parameters: Sequence[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            value = value.strip()
            if not value.replace(".", "", 1).isdigit() or not value.isascii():
                return None
            return min(float(value), 1.0)
    return 1.0
