"""A headless browser on a leash: started for one test, driven by its own debugging protocol over two pipes.

No driver, no port and no further package: the protocol is JSON with a zero byte behind each message, on descriptors 3
(to the browser) and 4 (from it). Network access is refused by a proxy that does not exist, and requests are counted.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--proxy-server=127.0.0.1:1",
    "--remote-debugging-pipe",
)


def program() -> str | None:
    """Return the browser to test with: any of Chromium's family that runs; a snap's stub that does not is none."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is None:
            continue
        done = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0 and any(character.isdigit() for character in done.stdout):
            return found
    return None


class Page:
    """One tab."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._buffer = b""
        self._last = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Load a page and wait until it has drawn itself."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 30
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive(deadline)

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Look at the page as a screen of this size shows it."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def ask(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def click(self, script: str) -> None:
        """Click with the mouse in the middle of the element that the expression gives."""
        box = self.ask(
            f"(() => {{ const one = {script}; one.scrollIntoView({{block: 'center', inline: 'center'}});"
            " const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def press(self, key: str, text: str | None = None) -> None:
        """Press one key."""
        codes = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        words = {"key": key, "windowsVirtualKeyCode": codes[key], **({"text": text} if text else {})}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, **words)

    def screenshot(self) -> bytes:
        """Return what is to be seen, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def complaints(self) -> list[str]:
        """Return what the page's script, or its content security policy, complained about."""
        return [
            json.dumps(event["params"])
            for event in self.events
            if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
        ]

    def requests(self) -> list[str]:
        """Return every address that the page asked for, the page itself included."""
        return [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 30
        while True:
            received = self._receive(deadline)
            if received.get("id") == self._last:
                assert "error" not in received, f"{method}: {received['error']}"
                result: dict[str, Any] = received["result"]
                return result

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            got = os.read(self._from, 1 << 20)
            assert got, "the browser has ended"
            self._buffer += got
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message


@contextmanager
def browser(directory: Path) -> Iterator[Page]:
    """Run a browser whose profile is in `directory`, and end it."""
    found = program()
    assert found is not None
    child_reads, we_write = os.pipe()
    we_read, child_writes = os.pipe()
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (child_reads, child_writes)]

    on_3_and_4 = f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}'
    with (directory / "browser.log").open("wb") as log:
        running = subprocess.Popen(
            ["bash", "-c", on_3_and_4, found, *OPTIONS, f"--user-data-dir={directory / 'profile'}"],
            env={**os.environ, "HOME": str(directory)},
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    for end in (child_reads, child_writes, *ends):
        os.close(end)
    try:
        page = Page(we_write, we_read)
        page.attach()
        yield page
    finally:
        running.terminate()
        try:
            running.wait(timeout=10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(timeout=10)
        os.close(we_write)
        os.close(we_read)
