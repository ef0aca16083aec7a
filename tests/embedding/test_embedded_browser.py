"""A real browser: one port serves the page and what the page talks to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio
from embedded_servers import TOKEN, application, hypercorn_serving
from other_roots import other_root
from playwright.sync_api import sync_playwright
from tools import need

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

#: A handshake by token and one call, by docs/reference/wire.rst.
CALL = """
async ([url, token]) => {
  const socket = new WebSocket(url, ["tractor-core.json.v1"]);
  const inbox = [], waiting = [];
  socket.onmessage = event => waiting.length ? waiting.shift()(event.data) : inbox.push(event.data);
  const receive = () => inbox.length ? inbox.shift() : new Promise(resolve => waiting.push(resolve));
  const closed = new Promise((_, reject) => {
    socket.onclose = event => reject(Error("closed " + event.code));
  });
  await Promise.race([closed, new Promise(resolve => { socket.onopen = resolve; })]);
  const utf8 = new TextEncoder();
  const base64 = bytes => btoa(String.fromCharCode(...bytes));
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  const mine = JSON.stringify(
    [1, ["page", crypto.randomUUID(), 0, false], "tractor-core/1", ["json"], base64(nonce)]);
  socket.send(mine);
  const theirs = await receive();
  const theirNonce = Uint8Array.from(atob(JSON.parse(theirs)[4]), c => c.charCodeAt(0));
  const parts = [utf8.encode("tractor-core handshake proof"), utf8.encode("dialler"),
    utf8.encode("tractor-core/1"), utf8.encode("token"), nonce, theirNonce, utf8.encode(mine),
    utf8.encode(theirs)];
  const joined = [];
  for (const part of parts) {
    joined.push(...new Uint8Array(new Uint32Array([part.length]).buffer), ...part);
  }
  const key = await crypto.subtle.importKey(
    "raw", utf8.encode(token), {name: "HMAC", hash: "SHA-256"}, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, new Uint8Array(joined)));
  socket.send(JSON.stringify([2, "token", base64(mac)]));
  const proved = JSON.parse(await receive());
  if (proved[0] !== 2) throw Error("refused: " + JSON.stringify(proved));
  socket.send(JSON.stringify([5, 0, "ws_endpoints:multiply", "asyncfunc", [], {x: 6, y: 7}]));
  for (;;) {
    const message = JSON.parse(await receive());
    if (message[0] === 17) socket.send(JSON.stringify([18, message[1]]));
    else if (message[1] === 0 && message[0] !== 7) return message;
  }
}
"""


def browse(chromium: str, home: Path, page_url: str, socket_url: str) -> tuple[str, Any]:
    """The title of a page, and what its script was answered, or why it was not."""
    with sync_playwright() as playwright:
        environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, env=environment)
        try:
            page = browser.new_page()
            page.goto(page_url)
            try:
                return page.title(), page.evaluate(CALL, [socket_url, TOKEN])
            except Exception as error:
                return page.title(), str(error)
        finally:
            browser.close()


@pytest.mark.limit(60)
async def test_a_page_calls_the_actor_behind_its_own_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chromium = need("chromium", package="chromium")
    async with (
        other_root(
            registry_addrs=["mem://page"], enable_modules=["ws_endpoints"], auth_tokens={TOKEN: "page"}
        ) as other,
        hypercorn_serving(application(lambda: other.actor)) as url,
        hypercorn_serving(application(lambda: other.actor)) as elsewhere,
    ):
        socket_url = url.replace("http", "ws") + "/actors"
        title, answer = await trio.to_thread.run_sync(browse, chromium, tmp_path, url, socket_url)
        assert title == "a page"
        assert answer == [9, 0, 42]
        assert "refused" not in caplog.text
        # The same page from another port is another origin.
        _, answer = await trio.to_thread.run_sync(browse, chromium, tmp_path, elsewhere, socket_url)
        assert "closed 1006" in answer
        assert f"pages from '{elsewhere}' may not connect here" in caplog.text
