"""A headless browser for tests that look at pages as people do.

Chromium is driven through its DevTools protocol: pages made of web components hide their text from
a plain dump of the document.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
_TEXT = """
(() => {
  const told = [];
  const walk = (node) => {
    if (['SCRIPT', 'STYLE', 'TEMPLATE'].includes(node.nodeName)) return;
    if (node.nodeType === 3 && node.textContent.trim()) told.push(node.textContent.trim());
    if (node.shadowRoot) walk(node.shadowRoot);
    for (const child of node.childNodes) walk(child);
  };
  walk(document.body);
  return told.join('\\n');
})()
"""


def page(
    url: str,
    until: str = "",
    *,
    size: tuple[int, int] = (1400, 900),
    picture: Path | None = None,
    media: str = "",
    settle_s: float = 1,
    patience_s: float = 60,
) -> str:
    """The text of a page, shadow trees included, a line a piece.

    Args:
        url: of the page.
        until: what the text must hold before the page counts as loaded.
        size: of the window, pixels.
        picture: where a PNG of the window goes.
        media: "print" shows it as paper does.
        settle_s: how long what moves takes to come into its place, before the picture.
        patience_s: how long to wait for ``until``.

    Raises:
        TimeoutError: where it does not come.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={profile}", "--remote-debugging-port=0",
            f"--window-size={size[0]},{size[1]}", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _port(Path(profile), time.monotonic() + patience_s)
            return asyncio.run(
                _visit(port, url, until, picture, size, media, settle_s, patience_s)
            )
        finally:
            process.terminate()
            process.wait(timeout=30)


def _port(profile: Path, end: float) -> int:
    told = profile / "DevToolsActivePort"
    while not (told.exists() and told.read_text().strip()):
        if time.monotonic() > end:
            raise TimeoutError("the browser did not start")
        time.sleep(0.1)
    return int(told.read_text().split()[0])


async def _visit(
    port: int,
    url: str,
    until: str,
    picture: Path | None,
    size: tuple[int, int],
    media: str,
    settle_s: float,
    patience_s: float,
) -> str:
    import aiohttp

    end = time.monotonic() + patience_s
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [one for one in await answer.json() if one["type"] == "page"]
        async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            number = 0

            async def ask(method: str, **params: Any) -> dict[str, Any]:
                nonlocal number
                number += 1
                await socket.send_str(
                    json.dumps({"id": number, "method": method, "params": params})
                )
                while True:
                    told = json.loads((await socket.receive()).data)
                    if told.get("id") == number:
                        result: dict[str, Any] = told.get("result", {})
                        return result

            metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1}
            await ask("Emulation.setDeviceMetricsOverride", **metrics, mobile=False)
            await ask("Emulation.setEmulatedMedia", media=media)
            await ask("Page.navigate", url=url)
            text = ""
            while not text or until not in text:
                if time.monotonic() > end:
                    raise TimeoutError(f"{url} never showed {until!r}, but: {text[:2000]}")
                await asyncio.sleep(0.5)
                found = await ask("Runtime.evaluate", expression=_TEXT, returnByValue=True)
                text = str(found.get("result", {}).get("value", ""))
            if picture is not None:
                await asyncio.sleep(settle_s)
                shot = await ask("Page.captureScreenshot", format="png")
                picture.write_bytes(base64.b64decode(shot["data"]))
            return text
