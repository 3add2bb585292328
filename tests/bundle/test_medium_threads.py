"""One medium read by several threads: a push to many hosts at once does that."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bundler.bundle.medium import open_medium


def test_threads_that_list_a_directory_at_once_see_all_of_it(tmp_path: Path) -> None:
    """None misses a name because another one is listing: a host would not get a signature."""
    wanted = {f"file-{number}" for number in range(400)}
    for name in wanted:
        (tmp_path / name).touch()
    quick = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with open_medium(tmp_path) as medium, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: set(medium.names()), range(200)))
    finally:
        sys.setswitchinterval(quick)

    assert all(names == wanted for names in found)
