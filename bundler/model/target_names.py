"""The names of targets and the distributions that we know. Light: the air-gapped half reads it too."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: distro-version → (default Python, glibc). Sources: the distributions' own package archives.
DISTROS: Mapping[str, tuple[str, tuple[int, int]]] = {
    "debian-11": ("3.9.2", (2, 31)),
    "debian-12": ("3.11.2", (2, 36)),
    "debian-13": ("3.13.5", (2, 41)),
    "ubuntu-22.04": ("3.10.12", (2, 35)),
    "ubuntu-24.04": ("3.12.3", (2, 39)),
    "rocky-9": ("3.9.21", (2, 34)),
    "rocky-10": ("3.12.9", (2, 39)),
    "almalinux-9": ("3.9.21", (2, 34)),
    "almalinux-10": ("3.12.9", (2, 39)),
    "centos-9": ("3.9.21", (2, 34)),
    "centos-10": ("3.12.9", (2, 39)),
    "redhat-9": ("3.9.21", (2, 34)),
    "redhat-10": ("3.12.9", (2, 39)),
}
ARCHES = ("x86_64", "aarch64")
TARGET_NAME = re.compile(
    r"(?P<distro>[a-z]+)-(?P<version>[0-9]+(?:\.[0-9]+)?)-(?P<arch>[a-z0-9_]+?)(?:-py(?P<major>3)(?P<minor>[0-9]{1,2}))?"
)
