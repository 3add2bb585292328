"""Frozen values and documents; pure."""
