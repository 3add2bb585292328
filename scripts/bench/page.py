"""Measure the page of a large bundle: how long Chromium takes to open it, to find in it and to sort it.

    scripts/bench/page.py [--packages N] [--keep FILE]

A synthetic bundle of a whole release: 300 packages for three targets in 32 venvs, with locks and SBOMs. The best of a
few loads counts, each in a browser that is already running. A limit that is missed makes the exit status 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from synthetic import BIN, ROOT, timed, verdict
from synthetic_release import make_release

sys.path.insert(0, str(ROOT))

from tests.browser import Browser, browser

TURNS = 5
OPEN, REACT = 1.0, 0.5
_LOADED = """
const [timing] = performance.getEntriesByType("navigation");
document.body.getBoundingClientRect();
return performance.now() - timing.startTime;
"""
_FIND = """
const words = document.getElementById("words"), began = performance.now();
words.value = arguments[0];
words.dispatchEvent(new Event("input", {bubbles: true}));
document.body.getBoundingClientRect();
return performance.now() - began;
"""
_SORT = """
const began = performance.now();
document.querySelectorAll("#package-table thead button")[arguments[0]].click();
document.body.getBoundingClientRect();
return performance.now() - began;
"""


def main() -> int:
    """Measure, print, and say by the exit status whether every limit held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=int, default=300, help="of each target")
    parser.add_argument("--keep", type=Path, help="copy the page to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-page-") as temporary:
        work = Path(temporary)
        bundle, page = make_release(work, packages=options.packages), work / "page.html"
        seconds, peak = timed(str(BIN / "bundle-build"), "page", str(bundle), "--out", str(page), "--quiet")
        print(f"bundle-build page           {seconds:7.2f} s, {peak / 1e6:.0f} MB, a page of "
              f"{page.stat().st_size / 1e6:.2f} MB", flush=True)  # fmt: skip
        if options.keep:
            options.keep.write_bytes(page.read_bytes())
        with browser() as window:
            opened = min(_open(window, page) for _ in range(TURNS))
            found = max(window.run(_FIND, words) for words in ("package-1", "mit", "zzz", "")) / 1000
            ordered = max(window.run(_SORT, column) for column in (0, 1, 5, 5)) / 1000
            elements = window.run("return document.getElementsByTagName('*').length")
    print(f"elements                    {elements:7d}")
    print(f"open, laid out              {opened:7.2f} s   limit {OPEN:g}   {verdict(missed=opened > OPEN)}")
    print(f"find                        {found:7.3f} s   limit {REACT:g}   {verdict(missed=found > REACT)}")
    print(f"sort                        {ordered:7.3f} s   limit {OPEN:g}   {verdict(missed=ordered > OPEN)}")
    return int(opened > OPEN or found > REACT or ordered > OPEN)


def _open(window: Browser, page: Path) -> float:
    window.call("/url", {"url": "about:blank"})
    window.open(page)
    seconds: float = window.run(_LOADED) / 1000
    return seconds


if __name__ == "__main__":
    sys.exit(main())
