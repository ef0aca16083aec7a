"""What ``tractor.js`` does with an actor that does not keep to the rules, or says more than it must.

The actor is played by the test, in place of the WebSocket's other end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from browser_endpoints import TOKEN
from playwright.sync_api import Page, WebSocketRoute

from tractor_core.msg.types import Aid
from tractor_core.protocol.auth import ClientTokens, OneTimeSecrets, new_nonce
from tractor_core.protocol.handshake import JSON, Acceptor, Identity
from tractor_core.seams import PeerFacts

OpenPage = Callable[..., Page]

URL = "ws://actor.test/"
STARTED = '[7,0,"ready"]'
RETURN = '[9,0,"end"]'


class PlayedActor:
    """Shakes hands, and answers a Start with ``answers``. ``heard`` is what came after the handshake."""

    def __init__(self, page: Page, *answers: str) -> None:
        self._answers = answers
        self.heard: list[Any] = []
        page.route_web_socket(URL, self._connected)

    def _connected(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        self._acceptor = Acceptor(
            Identity(Aid("played", "1"), key=bytes(32), codecs=("json",)),
            nonce=new_nonce(),
            facts=PeerFacts(codec="json"),
            my_uid=0,
            spawn_secrets=OneTimeSecrets(),
            tokens=ClientTokens({TOKEN: "page"}),
            codec=JSON,
        )
        self._steps = iter((self._hello, self._auth))
        socket.on_message(lambda frame: next(self._steps, self._talk)(frame))

    def _hello(self, frame: Any) -> None:
        self._acceptor.on_hello(frame.encode())
        self._socket.send(self._acceptor.hello().decode())

    def _auth(self, frame: Any) -> None:
        self._socket.send(self._acceptor.on_auth(frame.encode())[0].decode())

    def _talk(self, frame: Any) -> None:
        message = json.loads(frame)
        self.heard.append(message)
        if message[0] == 5:
            for answer in self._answers:
                self._socket.send(answer)

    def wait_for(self, page: Page, *beginning: Any) -> list[Any]:
        """The first message that begins so; it may arrive later than what the page says of itself."""
        for _ in range(500):
            for message in self.heard:
                if message[: len(beginning)] == list(beginning):
                    return list(message)
            page.wait_for_timeout(10)
        raise AssertionError(f"{beginning} did not come, but {self.heard}")


def endure(page: Page) -> Any:
    return page.evaluate("url => import('/scenarios.js').then((it) => it.endure(url))", URL)


VIOLATIONS = [
    ['[6,0,"asyncfunc"]'],
    ['[8,0,"too early"]'],
    ['[9,0,"Return before Started"]'],
    [STARTED, STARTED],
    [STARTED, "[14,0,1,1]"],
    [STARTED, '[15,0,0,1,"block"]'],
    [STARTED, '[15,0,1,1,"whatever"]'],
    [STARTED, "[10,0]", "[10,0]"],
    [STARTED, "[13,0]"],
    # Far more than was granted to a page that takes twenty in a second.
    [STARTED, *['[8,0,"pause"]'] * 300],
]
NO_MESSAGES = ["nonsense", "[99,0]", "[8,0]", "{}", '[16,0,true,""]', '[16,0,true,"WzE2XQ=="]']


@pytest.mark.limit(60)
def test_a_violation_ends_the_dialog(open_page: OpenPage) -> None:
    for answers in VIOLATIONS:
        page = open_page()
        actor = PlayedActor(page, *answers)
        end = endure(page)
        assert end["outcome"]["name"] == "TransportClosed", answers[-1]
        assert "violation" in end["outcome"]["message"], answers[-1]
        assert not end["closed"], answers[-1]
        # The task there is to be cancelled.
        actor.wait_for(page, 12, 0)


@pytest.mark.limit(60)
def test_what_is_no_message_ends_the_connection(open_page: OpenPage) -> None:
    for frame in NO_MESSAGES:
        page = open_page()
        PlayedActor(page, STARTED, frame)
        end = endure(page)
        assert end["outcome"]["name"] == "TransportClosed", frame
        assert "no message" in end["outcome"]["message"], frame
        assert end["closed"], frame


def test_what_goes_beyond_the_rules_is_ignored(open_page: OpenPage) -> None:
    page = open_page()
    later = ['[8,0,[1,"]é,\\""],{"of":["a",2]}]', '[ 8 , 0 , {"a" : 1.0} ]', "[10,0]"]
    actor = PlayedActor(
        page, "[7,0,1,2,3]", "[17,5]", '[8,4,"of a dialog long over"]', "[18,9]", *later, RETURN
    )
    end = endure(page)
    assert end == {"outcome": "end", "values": [[1, ']é,"'], {"a": 1}], "closed": False}
    actor.wait_for(page, 18, 5)


def test_credit_counts_what_stood_in_the_frame(open_page: OpenPage) -> None:
    page = open_page()
    # 1.0 is written 1 by this page, and the é has two bytes.
    actor = PlayedActor(page, STARTED, "[8,0,[1.0, 2]]", '[8,0,"é",0]')
    page.evaluate(
        """async (url) => {
            const { connect } = await import("/tractor.js");
            const t = await connect(url, { token: "the-token-of-the-tested-page" });
            const ctx = await t.openContext("any:thing", {}, { window: 4 });
            await ctx.stream.next();
            await ctx.stream.next();
        }""",
        URL,
    )
    actor.wait_for(page, 14, 0, 2, len("[1.0, 2]") + len('"é"'.encode()))


def test_a_page_exposes_nothing(open_page: OpenPage) -> None:
    page = open_page()
    start = '[5,1,"os:system","asyncfunc",["true"],{}]'
    actor = PlayedActor(page, STARTED, start, '[12,3,["played","1"],"",null,true]', "[10,0]", RETURN)
    assert endure(page)["outcome"] == "end"
    assert actor.wait_for(page, 11, 1)[2][9] == "notexposed"
    actor.wait_for(page, 13, 3, False)
