"""Build, sign, verify and install offline bundles of Python services."""
