"""Take the README's pictures of the dashboard: a simulated walk, a laptop's window and a phone's.

    python tests/dashboard_pictures.py --model models/talaria-legs-2

Writes ``docs/images/dashboard.png`` and ``docs/images/dashboard-phone.png``. Needs chromium.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WALKED_S = 25.0
"""Standing, calibrating, and strides enough to fill the table."""


@contextmanager
def chromium() -> Iterator[ClientConnection]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("There is no chromium to take pictures with: apt install chromium.")
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [program, *options, f"--user-data-dir={folder}", "--hide-scrollbars"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            told = Path(folder, "DevToolsActivePort")
            while not (told.exists() and told.read_text()):
                time.sleep(0.05)
            port = told.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as response:
                page = next(page for page in json.load(response) if page["type"] == "page")
            with connect(page["webSocketDebuggerUrl"], max_size=None) as line:
                yield line
        finally:
            process.terminate()
            process.wait()


_numbers = count(1)


def ask(line: ClientConnection, method: str, **params: Any) -> Any:
    number = next(_numbers)
    line.send(json.dumps({"id": number, "method": method, "params": params}))
    while True:
        answer = json.loads(line.recv(timeout=30))
        if answer.get("id") == number:
            return answer["result"]


def picture(line: ClientConnection, name: str, width: int, height: int, *, phone: bool) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    ask(line, "Emulation.setDeviceMetricsOverride", **size)
    ask(line, "Runtime.evaluate", expression="document.getElementById('grades-close').click()")
    time.sleep(1.0)
    data = base64.b64decode(ask(line, "Page.captureScreenshot", format="png")["data"])
    IMAGES.mkdir(parents=True, exist_ok=True)
    (IMAGES / name).write_bytes(data)
    print(f"{IMAGES / name}: {len(data) / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    model = parser.parse_args().model
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as out:
        options = ("--source", "sim:?seed=1&pace=real", "--model", str(model), "--record", out)
        shown = ("--quiet", "--dashboard", "--dashboard-port", str(port))
        command = [sys.executable, "-m", "talaria_edge", "run", *options, *shown]
        session = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with chromium() as line:
                dark = [{"name": "prefers-color-scheme", "value": "dark"}]
                ask(line, "Emulation.setEmulatedMedia", features=dark)
                time.sleep(3.0)
                ask(line, "Page.navigate", url=f"http://127.0.0.1:{port}/")
                time.sleep(WALKED_S)
                picture(line, "dashboard.png", 1280, 800, phone=False)
                picture(line, "dashboard-phone.png", 390, 844, phone=True)
        finally:
            session.terminate()
            session.wait()


if __name__ == "__main__":
    main()
