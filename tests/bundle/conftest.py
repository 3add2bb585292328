"""The made-up bundles of :mod:`tests.bundles`."""

from __future__ import annotations

from tests.bundles import (
    DEBIAN,
    UBUNTU,
    Keys,
    Sample,
    bundle,
    digest_of,
    installer,
    keys,
    make_bundle,
    make_sample,
    sample,
    sampler,
    signed_bundle,
)

__all__ = [
    "DEBIAN",
    "UBUNTU",
    "Keys",
    "Sample",
    "bundle",
    "digest_of",
    "installer",
    "keys",
    "make_bundle",
    "make_sample",
    "sample",
    "sampler",
    "signed_bundle",
]
