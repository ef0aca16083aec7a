"""A WebSocket library that is not ours, and a client written from the reference of the wire alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import trio
import ws_endpoints

import tractor_core as tractor

TOKEN = "the-token-of-a-stock-client"
PROGRAM = Path(__file__).with_name("stock_client.py")


async def play(url: str, token: str) -> dict[str, Any]:
    finished = await trio.run_process(
        [sys.executable, str(PROGRAM), url, token], capture_stdout=True, capture_stderr=True, check=False
    )
    assert finished.returncode == 0, finished.stderr.decode()
    answers: dict[str, Any] = json.loads(finished.stdout)
    return answers


async def test_a_session_by_the_book() -> None:
    async with tractor.open_root_actor(
        registry_addrs=["ws://127.0.0.1:0"], enable_modules=["ws_endpoints"], auth_tokens={TOKEN: "stock"}
    ) as root:
        url = root.accept_addrs[0].url
        async with tractor.open_portal(url) as bystander:
            answers = await play(url, TOKEN)
            assert await bystander.run(ws_endpoints.add, 1, 2) == 3
        assert not root.cancel_called
    assert answers["multiply"] == ["return", 42]
    assert answers["fail"] == ["error", "", "builtins:ValueError", "on purpose"]
    assert answers["wrong type"][:2] == ["error", "msgtype"]
    assert answers["ticks"] == list(range(100))
    assert answers["double"] == ["ready", 2, "aa", [2, 2], ["return", "doubled"]]
    assert answers["hang"] == [True, "error", "cancelled"]
    for refused in ("not for clients", "not there", "register"):
        assert answers[refused][:2] == ["error", "notexposed"], answers[refused]
        assert "is not open to client 'stock'" in answers[refused][3]
    assert answers["cancel actor"][0] == 13 and answers["cancel actor"][2] is False
    assert answers["afterwards"] == ["return", 6]


async def test_a_wrong_token() -> None:
    async with tractor.open_root_actor(
        registry_addrs=["ws://127.0.0.1:0"], enable_modules=["ws_endpoints"], auth_tokens={TOKEN: "stock"}
    ) as root:
        answers = await play(root.accept_addrs[0].url, "the-token-of-somebody-else")
    assert answers == {"refused": "auth: the dialler does not hold a token that is known here"}
