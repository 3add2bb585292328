"""Commands of `bundle-install`, one per file."""
