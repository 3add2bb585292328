"""Layers, venv archives and their proof."""
