"""Bundles whose tested versions are published, and keys."""

from tests.bundles import installer, keys, make_bundle, sampler, signed_bundle

__all__ = ["installer", "keys", "make_bundle", "sampler", "signed_bundle"]
