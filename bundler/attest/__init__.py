"""Statements about a bundle: SBOM and provenance."""
