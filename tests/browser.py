"""A headless Chromium, driven over W3C WebDriver: JSON over HTTP on loopback (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Keys that have no character (WebDriver, section "Keyboard actions").
TAB, ENTER, SPACE = "\ue004", "\ue007", " "
_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb",
)  # fmt: skip
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window; ``base`` is the session's address."""

    def __init__(self, base: str) -> None:
        self._base = base

    def call(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """Send a command; an error of the driver raises AssertionError with its message."""
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self._base + path, data, method=method)  # noqa: S310  # loopback
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def open(self, page: Path) -> None:
        """Load a file."""
        self.call("/url", {"url": page.absolute().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page and return what it returns."""
        return self.call("/execute/sync", {"script": script, "args": list(arguments)})

    def type(self, selector: str, keys: str) -> None:
        """Type into an element, as a keyboard does."""
        found = self.call("/element", {"using": "css selector", "value": selector})[_ELEMENT]
        self.call(f"/element/{found}/value", {"text": keys})

    def press(self, key: str) -> None:
        """Press a key wherever the focus is."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def chrome(self, command: str, **parameters: Any) -> Any:
        """Send a command of the Chrome DevTools protocol."""
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def complaints(self) -> list[str]:
        """Return what the console said since it was last asked."""
        return [entry["message"] for entry in self.call("/se/log", {"type": "browser"})]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a driver and a browser with an empty profile; both end with the context."""
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            yield from _session(driver, profile)
        finally:
            driver.terminate()
            driver.wait()
            if driver.stdout:
                driver.stdout.close()


def _session(driver: subprocess.Popen[str], profile: str) -> Iterator[Browser]:
    said = iter(driver.stdout or ())
    port = next(line for line in said if "started successfully on port" in line).rpartition(" ")[2].strip(".\n")
    root = f"http://127.0.0.1:{port}"
    options = {"args": [*_ARGUMENTS, f"--user-data-dir={profile}"]}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    session = Browser(root).call("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
    window = Browser(f"{root}/session/{session}")
    try:
        yield window
    finally:
        window.call("", method="DELETE")
