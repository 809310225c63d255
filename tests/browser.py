"""Headless Chromium, spoken to over its debugging pipe: what a page shows, logs and fetches at a given width."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OFFLINE = ("gpu", "background-networking", "component-update", "sync", "default-apps", "extensions")
_KEYS = {"Tab": 9}


class Tab:
    """One page in the browser. ``events`` are the protocol's messages that were no answer to a command."""

    def __init__(self, to_browser: RawIOBase, from_browser: BufferedReader):
        self._out, self._in = to_browser, from_browser
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Open ``page`` from disk at ``width`` CSS pixels, and wait until it is loaded."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.absolute().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_KEYS[key])

    def said(self) -> list[str]:
        """What the page logged: console messages, exceptions, the browser's own complaints."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"])[:300] for event in self.events if event.get("method") in kinds]

    def requested(self) -> list[str]:
        """The addresses that were asked for."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def screenshot(self, out: Path, *, whole: bool = False) -> None:
        """A PNG of the screen, or of the ``whole`` page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        out.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, out: Path) -> None:
        """The page as it prints on A4."""
        printed = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        out.write_bytes(base64.b64decode(printed["data"]))

    def _read(self) -> dict[str, Any]:
        message = bytearray()
        while (character := self._in.read(1)) != b"\0":
            assert character, "the browser has ended"
            message += character
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A browser with one tab; it keeps what it needs in the folder ``profile``."""
    assert BROWSER is not None
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()

    def place() -> None:  # the pipe's ends are file descriptors 3 and 4, by the protocol
        commands, answers = os.dup(read_commands), os.dup(write_answers)
        os.dup2(commands, 3)
        os.dup2(answers, 4)

    command = [BROWSER, "--headless", "--no-sandbox", "--no-first-run", "--remote-debugging-pipe",
               f"--user-data-dir={profile}", *(f"--disable-{name}" for name in _OFFLINE)]  # fmt: skip
    process = subprocess.Popen(
        command, close_fds=False, preexec_fn=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(read_commands)
    os.close(write_answers)
    try:
        with os.fdopen(write_commands, "wb", buffering=0) as commands, os.fdopen(read_answers, "rb") as answers:
            yield Tab(commands, answers)
    finally:
        process.terminate()
        process.wait(timeout=30)
