"""Serving the root of a repo host over HTTP: a small server of our own, and a configuration for nginx."""
