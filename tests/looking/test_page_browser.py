"""The page of a bundle in a real browser: the console stays empty, it finds, sorts, and runs no foreign script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundler.workflows.page import PageRequest, write_page
from tests.browser import ENTER, SPACE, TAB, Browser, browser

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">\u202e"
_SHOWN = """
return [...document.querySelectorAll("#package-table tbody tr")].filter(row => row.checkVisibility())
  .map(row => row.cells[0].textContent.replace(" *", ""));
"""
#: Contrast of every text with what is behind it (WCAG 2.2, 1.4.3), the lowest first; all backgrounds are opaque.
_CONTRAST = """
const light = rgb => rgb.map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
const parts = text => text.match(/[\\d.]+/g).map(Number);
const behind = element => {
  for (; element; element = element.parentElement) {
    const found = parts(getComputedStyle(element).backgroundColor);
    if (found.length === 3 || found[3] > 0) return found.slice(0, 3);
  }
};
return [...document.querySelectorAll("body *")]
  .filter(one => one.checkVisibility() && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .map(one => {
    const [a, b] = [parts(getComputedStyle(one).color).slice(0, 3), behind(one)].map(light).sort((x, y) => y - x);
    return [(a + .05) / (b + .05), one.tagName + ": " + one.textContent.slice(0, 30)];
  }).sort((x, y) => x[0] - y[0])[0];
"""


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def page(release: Callable[..., Any], wheel: Callable[..., Any], tmp_path: Path, window: Browser) -> Browser:
    """Open the page of a bundle with a hostile package, beside the changes since an older one."""
    old = release(wheel("oslo", "1.0")).write(tmp_path / "old")
    extra = [
        wheel("oslo", "1.10", licence="Apache-2.0"),
        wheel("small", "1.9"),
        wheel("evil", "1.2", licence=HOSTILE),
    ]
    made = release(*extra, sboms=True, sequence=1795129999, tool=HOSTILE[:-1], accepted={HOSTILE: HOSTILE})
    out = tmp_path / "page.html"
    write_page(PageRequest(bundle=made.write(tmp_path / "new"), previous=old, out=out))
    window.complaints()
    window.open(out)
    return window


def _type(page: Browser, words: str) -> list[str]:
    page.type("#words", words)
    return list(page.run(_SHOWN))


def test_nothing_is_said_to_the_console_and_no_foreign_script_runs(page: Browser) -> None:
    """Hostile metadata is shown as the text that it is; the browser has nothing to complain about."""
    title = page.run("return document.title")
    licence = page.run("return document.querySelector('#package-table tbody tr').cells[3].textContent")

    assert title == "demo 2026.1: bundle"
    assert licence == HOSTILE.replace("\u202e", "\\u202e")
    assert page.run("return [document.scripts.length, document.images.length]") == [1, 0]
    assert page.complaints() == []


def test_the_policy_stops_a_script_that_got_in_nevertheless(page: Browser) -> None:
    """A second line of defence: script and style that are not the page's own do nothing."""
    page.run(
        "const script = document.createElement('script'); script.textContent = \"document.title = 'run'\";"
        "document.body.append(script);"
    )

    assert page.run("return document.title") == "demo 2026.1: bundle"
    assert any("Content Security Policy" in said for said in page.complaints())


def test_words_find_packages(page: Browser) -> None:
    """All words must be there, in any column; how many are shown is said; the form shows all again."""
    everything = page.run(_SHOWN)

    found = _type(page, "apache osl")
    said = page.run("return document.getElementById('found').textContent")
    page.run("document.querySelector('#find button').click()")

    assert found == ["oslo"]
    assert said == "1 of 6 shown"
    assert everything == ["evil", "keystone", "nova", "oslo", "shared", "small"]
    assert page.run("return new Promise(done => setTimeout(done, 20))") is None
    assert page.run(_SHOWN) == everything


def test_a_digest_is_found_by_its_beginning_and_short_words_are_not_looked_for_in_digests(page: Browser) -> None:
    """`a` is in nearly every digest: only eight and more digits look into them."""
    cell = page.run("return document.querySelectorAll('#package-table tbody tr')[3].cells[9].textContent")
    digest = cell.partition("sha256:")[2][:12]

    by_digest = _type(page, digest)
    page.run("document.getElementById('find').reset()")

    assert by_digest == ["oslo"]
    assert _type(page, digest[:4]) == []


def test_a_venv_is_chosen_from_its_table_and_changes_alone_can_be_shown(page: Browser) -> None:
    """The number of packages of a venv leads to them; `changed only` leaves what moved."""
    page.run("document.querySelector('#venv-table a[data-venv]').focus()")
    page.press(ENTER)
    of_venv = page.run(_SHOWN)
    page.run("document.getElementById('find').reset()")
    page.run("document.getElementById('changed').focus()")
    page.press(SPACE)

    assert of_venv == ["keystone", "shared"]
    assert page.run(_SHOWN) == ["evil", "oslo", "small"]


def test_tables_are_sorted_by_keyboard_and_say_so(page: Browser) -> None:
    """Tab reaches a column's head, Enter and Space sort by it; versions and sizes as numbers."""
    page.run("document.querySelector('#package-table thead button').focus()")
    page.press(TAB)
    page.press(ENTER)
    rising = page.run(
        "return [...document.querySelectorAll('#package-table tbody tr')].map(row => row.cells[1].textContent)"
    )
    said = page.run(
        "return [...document.querySelectorAll('#package-table thead th')].map(head => head.getAttribute('aria-sort'))"
    )
    page.press(SPACE)

    assert rising == ["1.0", "1.2", "1.9", "1.10", "29.0", "33.0"]
    assert said == [None, "ascending", *[None] * 8]
    assert page.run("return document.activeElement.parentElement.getAttribute('aria-sort')") == "descending"
    assert page.run("return document.getElementById('status').textContent") == "Sorted by Version, falling"
    assert page.run(_SHOWN)[0] == "nova"
    page.run("document.querySelectorAll('#package-table thead button')[6].click()")
    assert page.run(
        "const cells = document.querySelectorAll('#package-table tbody td[data-v]');"
        "const sizes = [...cells].map(cell => +cell.dataset.v);"
        "return sizes.every((size, i) => !i || sizes[i - 1] <= size)"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_high_enough(page: Browser, scheme: str) -> None:
    """Every text has a contrast of 4.5 and more with what is behind it, in the light and in the dark."""
    page.chrome("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    (lowest, where) = page.run(_CONTRAST)

    assert lowest >= 4.5, where
    dark = page.run("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_focus_can_be_seen_and_skips_to_the_contents(page: Browser) -> None:
    """The first Tab shows the link that skips the head; what has the focus has an outline."""
    page.press(TAB)
    seen = page.run(
        "const at = document.activeElement, box = at.getBoundingClientRect();"
        "return [at.className, box.left >= 0, getComputedStyle(at).outlineStyle]"
    )
    page.press(ENTER)

    assert seen == ["skip", True, "solid"]
    assert page.run("return document.activeElement.id") == "main"


def test_a_narrow_window_scrolls_tables_only(page: Browser) -> None:
    """On a telephone's width the page itself stays within the window; wide tables scroll inside their region."""
    page.chrome("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)

    widths = page.run(
        "const wide = document.querySelector('#package-table').parentElement;"
        "return [document.documentElement.scrollWidth, wide.scrollWidth > wide.clientWidth, wide.tabIndex]"
    )
    page.chrome("Emulation.clearDeviceMetricsOverride")

    assert widths == [360, True, 0]


def test_paper_shows_what_is_folded_and_no_form(page: Browser) -> None:
    """In print what is folded in cells is open; the form, and the column of digests, are gone."""
    page.run(
        "document.querySelector('#venv-table td').innerHTML ="
        " '<details><summary>names</summary><span id=folded>folded</span></details>'"
    )
    page.chrome("Emulation.setEmulatedMedia", media="print")

    shown = page.run(
        "return [document.getElementById('find').checkVisibility(),"
        " document.querySelector('#package-table td:last-child').checkVisibility(),"
        " document.getElementById('folded').checkVisibility()]"
    )
    page.chrome("Emulation.setEmulatedMedia", media="")

    assert shown == [False, False, True]


def test_without_its_script_the_page_is_whole(page: Browser) -> None:
    """Where scripts are off every row is there; only the form is missing."""
    page.chrome("Emulation.setScriptExecutionDisabled", value=True)
    page.call("/refresh")
    page.chrome("Emulation.setScriptExecutionDisabled", value=False)

    assert page.run(_SHOWN) == ["evil", "keystone", "nova", "oslo", "shared", "small"]
    assert page.run("return document.getElementById('find').checkVisibility()") is False
