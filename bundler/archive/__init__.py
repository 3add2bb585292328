"""Bytes: zstd frames and tar segments."""
