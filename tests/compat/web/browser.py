"""A headless Chromium for tests, steered through a pair of pipes by its own protocol.

Law: nothing but the standard library, and no port: whoever tests a page needs Debian's chromium and nothing else. It
is started with a profile of its own, which is gone afterwards. What a page complains of, its console's errors and its
security policy's refusals, is kept and can be asked for.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "chrome")


def program() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Problem(AssertionError):
    """The page did not come to be as it was to be."""


class Page:
    """One tab. Methods wait until what they want is there."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []

    def call(self, method: str, **params: Any) -> Any:
        return self._browser.call(method, self._session, **params)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """What the expression gives, as JSON can say it; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise Problem(found["exceptionDetails"].get("exception", {}).get("description") or str(found))
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 20) -> Any:
        """What the expression gives when that is true at last."""
        end = time.monotonic() + seconds
        while True:
            try:
                found = self.run(script)
            except Problem as problem:
                found, why = None, str(problem)
            else:
                why = ""
            if found:
                return found
            if time.monotonic() > end:
                raise Problem(f"{script} is not so. {why}\n{self.text()[:3000]}\n{self.complaints}")
            time.sleep(0.05)

    def text(self) -> str:
        return str(self.run("document.body ? document.body.innerText : ''"))

    def sees(self, words: str, seconds: float = 20) -> None:
        self.until(f"document.body.innerText.includes({json.dumps(words)})", seconds)

    def click(self, selector: str) -> None:
        self.until(f"(e => e && (e.click(), true))(document.querySelector({json.dumps(selector)}))")

    def type(self, selector: str, words: str) -> None:
        self.until(
            f"(e => e && (e.focus(), e.select && e.select(), true))(document.querySelector({json.dumps(selector)}))"
        )
        self.call("Input.insertText", text=words)

    def press(self, key: str) -> None:
        code = {"Enter": 13, "Escape": 27, "Tab": 9}.get(key, ord(key[0].upper()))
        for kind in ("keyDown", "keyUp"):
            more = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            if len(key) == 1 and kind == "keyDown":
                more = {"text": key}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def dark(self, on: bool) -> None:
        value = "dark" if on else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def picture(self, path: Path) -> None:
        """A PNG of what is seen."""
        found = self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        path.write_bytes(base64.b64decode(found["data"]))

    def accessible(self) -> list[tuple[str, str]]:
        """What a screen reader is told: pairs of a role and a name."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node.get("role", {}).get("value", ""), node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored")
        ]


class Browser:
    """The process and its two pipes."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self._process = process
        self._to = to
        self._back = back
        self._buffer = b""
        self._last = 0
        self._pages: dict[str, Page] = {}

    def page(self) -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            page.call(f"{domain}.enable")
        return page

    def call(self, method: str, session: str | None = None, /, **params: Any) -> Any:
        self._last += 1
        asked = {"id": self._last, "method": method, "params": params, **({"sessionId": session} if session else {})}
        data = json.dumps(asked).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        end = time.monotonic() + 60
        while True:
            said = self._read(end)
            if said.get("id") == self._last:
                if "error" in said:
                    raise Problem(f"{method}: {said['error']}")
                return said["result"]
            self._noted(said)

    def _noted(self, said: dict[str, Any]) -> None:
        page = self._pages.get(said.get("sessionId", ""))
        if page is None:
            return
        params = said.get("params", {})
        if said["method"] == "Runtime.exceptionThrown":
            page.complaints.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
        elif said["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            page.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def _read(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._back], [], [], max(end - time.monotonic(), 0))[0]:
                raise Problem("the browser does not answer")
            data = os.read(self._back, 1 << 16)
            if not data:
                raise Problem(f"the browser has ended with {self._process.poll()}")
            self._buffer += data
        said, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(said))


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, for as long as it is needed."""
    found = program()
    assert found, "chromium is not installed; on Debian: apt-get install chromium"
    home = tempfile.mkdtemp(prefix="celeriac-chromium-")
    theirs, to = os.pipe()
    back, ours = os.pipe()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio"]
    flags += ["--remote-debugging-pipe", f"--user-data-dir={home}", "--disable-extensions", "--hide-scrollbars"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    # It reads from 3 and writes to 4: ours are put there, whatever numbers they have here.
    place = "import fcntl, os, sys; a, b = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]); "
    place += "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
    command = [sys.executable, "-c", place, str(theirs), str(ours), found, *flags]
    with (Path(home) / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            pass_fds=(theirs, ours),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "HOME": home},
            start_new_session=True,
        )
    os.close(theirs)
    os.close(ours)
    browser = Browser(process, to, back)
    try:
        yield browser
    finally:
        with suppress(Problem, OSError):
            browser.call("Browser.close")
        os.close(to)
        os.close(back)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(home, ignore_errors=True)
