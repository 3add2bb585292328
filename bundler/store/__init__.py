"""Content-addressed blobs and the cache of what was made from what."""
