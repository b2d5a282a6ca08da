"""Takes pictures of pages with Chromium, by its DevTools protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A browser that asks nobody for anything but the page.
_QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
_NO_WINDOW = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]


class Page:
    """An empty page of a browser.

    Args:
        requests, answers: our ends of the browser's pipes.
    """

    def __init__(self, requests: Any, answers: Any) -> None:
        self._requests, self._answers = requests, answers
        self._numbers = itertools.count(1)
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def remember(self, **items: str) -> None:
        """Let the pages that are opened next find this in their local storage."""
        calls = (f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)});" for key, value in items.items())
        self._call("Page.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source="".join(calls))

    def take_picture(self, url: str, file: Path, width: int, height: int, **look: Any) -> None:
        """Open a page, wait until it has drawn what it asks its server for, and write what is in sight to a PNG.

        Args:
            url: its address.
            file: the picture.
            width, height: of the window, in pixels.
            look: whether it is ``dark``, and how many ``seconds`` it may take to draw, 1 by default.
        """
        scheme = "dark" if look.get("dark") else "light"
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Page.navigate", url=url)
        time.sleep(look.get("seconds", 1))
        picture = self._call("Page.captureScreenshot", format="png")["data"]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(base64.b64decode(picture))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._requests.write(json.dumps(message).encode() + b"\0")
        self._requests.flush()
        while True:  # what is not the answer is an event
            answer = json.loads(self._read())
            if answer.get("id") == number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _read(self) -> bytes:
        message = bytearray()
        while (letter := self._answers.read(1)) != b"\0":
            message += letter or sys.exit("Chromium has ended.")
        return bytes(message)


@contextmanager
def open_page(folder: Path) -> Iterator[Page]:
    """Start Chromium, with a folder for what it keeps, and yield an empty page of it."""
    chromium = shutil.which("chromium") or sys.exit("Chromium is missing: apt-get install chromium")
    argv = [chromium, *_NO_WINDOW, *_QUIET, "--remote-debugging-pipe", f"--user-data-dir={folder}"]
    # Chromium reads requests from descriptor 3 and writes its answers to 4.
    shell = ["bash", "-c", 'exec "$@" 3<&0 4>&1', "bash", *argv]
    with subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield Page(process.stdin, process.stdout)
        finally:
            process.terminate()
