"""A client made of the package ``websockets`` and docs/reference/wire.rst: nothing of tractor-core is used.

``python stock_client.py URL TOKEN`` plays a session and prints, as JSON, what it was answered.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import uuid
from typing import Any

from websockets.sync.client import ClientConnection, connect

HELLO, AUTH, START, STARTED, YIELD, RETURN, STOP, ERROR = 1, 2, 5, 7, 8, 9, 10, 11
CANCEL, CANCEL_ACK, CREDIT, OPEN, PING, PONG = 12, 13, 14, 15, 17, 18
PROTOCOL = "tractor-core/1"
ENDPOINTS = "ws_endpoints"


def proof(secret: str, side: str, nonces: list[bytes], hellos: list[str]) -> bytes:
    digest = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    parts = [b"tractor-core handshake proof", side.encode(), PROTOCOL.encode(), b"token"]
    for part in [*parts, *nonces, *(hello.encode() for hello in hellos)]:
        digest.update(len(part).to_bytes(4, "little") + part)
    return digest.digest()


class Refused(Exception):
    pass


class Client:
    def __init__(self, socket: ClientConnection, token: str) -> None:
        self.socket = socket
        self.uid = ["stock", uuid.uuid4().hex]
        self.next_cid = 0
        self._shake_hands(token)

    def _shake_hands(self, token: str) -> None:
        nonce = os.urandom(32)
        mine = json.dumps(
            [HELLO, [*self.uid, 0, False], PROTOCOL, ["json"], base64.b64encode(nonce).decode()],
            separators=(",", ":"),
        )
        self.socket.send(mine)
        theirs = self.socket.recv()
        assert isinstance(theirs, str)
        answer = json.loads(theirs)
        assert answer[0] == HELLO and answer[2] == PROTOCOL and "json" in answer[3]
        nonces, hellos = [nonce, base64.b64decode(answer[4])], [mine, theirs]
        self.send(AUTH, "token", base64.b64encode(proof(token, "dialler", nonces, hellos)).decode())
        tag, *fields = self.receive()
        if tag == ERROR:
            raise Refused(f"{fields[1][9]}: {fields[1][1]}")
        assert tag == AUTH and fields[0] == "token"
        expected = proof(token, "acceptor", nonces, hellos)
        assert hmac.compare_digest(base64.b64decode(fields[1]), expected)

    def send(self, *message: Any) -> None:
        self.socket.send(json.dumps(message, separators=(",", ":")))

    def receive(self) -> list[Any]:
        while True:
            message = self.socket.recv()
            assert isinstance(message, str)
            decoded: list[Any] = json.loads(message)
            if decoded[0] != PING:
                return decoded
            self.send(PONG, decoded[1])

    def start(self, target: str, functype: str, **kwargs: Any) -> int:
        cid = self.next_cid
        self.next_cid += 2
        self.send(START, cid, target, functype, [], kwargs)
        return cid

    def outcome(self, cid: int) -> list[Any]:
        """What the dialog ends with: ``["return", value]`` or ``["error", kind, type name, text]``."""
        while True:
            tag, *fields = self.receive()
            assert fields[0] == cid
            if tag == RETURN:
                return ["return", fields[1]]
            if tag == ERROR:
                error = [*fields[1], *[None] * 14]
                return ["error", error[9] or "", error[0], error[1]]

    def call(self, target: str, functype: str = "asyncfunc", **kwargs: Any) -> list[Any]:
        return self.outcome(self.start(target, functype, **kwargs))

    def generator(self, n: int) -> list[Any]:
        cid = self.start(f"{ENDPOINTS}:ticks", "asyncgen", n=n)
        values: list[Any] = []
        while True:
            tag, *fields = self.receive()
            if tag == STARTED:
                self.send(OPEN, cid, 10, 1_000_000, "block")
            elif tag == YIELD:
                values.append(fields[1])
                self.send(CREDIT, cid, 1, len(json.dumps(fields[1])))
            elif tag == RETURN:
                return values
            elif tag == ERROR:
                return fields

    def conversation(self) -> list[Any]:
        cid = self.start(f"{ENDPOINTS}:double", "context")
        heard: list[Any] = []
        tag, *fields = self.receive()
        while tag != STARTED:
            tag, *fields = self.receive()
        heard.append(fields[1])
        self.send(OPEN, cid, 10, 1_000_000, "block")
        for value in (1, "a", [2]):
            self.send(YIELD, cid, value)
            tag, *fields = self.receive()
            while tag != YIELD:
                tag, *fields = self.receive()
            heard.append(fields[1])
        self.send(STOP, cid)
        return [*heard, self.outcome(cid)]

    def cancelled(self) -> list[Any]:
        cid = self.start(f"{ENDPOINTS}:hang", "context")
        while self.receive()[0] != STARTED:
            pass
        self.send(CANCEL, cid, self.uid)
        tag, *fields = self.receive()
        return [[tag, *fields] == [CANCEL_ACK, cid, True], *self.outcome(cid)[:2]]

    def cancel_actor(self) -> list[Any]:
        self.send(CANCEL, self.next_cid, self.uid, "", None, True)
        return self.receive()


def session(url: str, token: str) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    with connect(url, subprotocols=["tractor-core.json.v1"], compression=None) as socket:  # type: ignore[list-item]
        try:
            client = Client(socket, token)
        except Refused as refused:
            return {"refused": str(refused)}
        answers["multiply"] = client.call(f"{ENDPOINTS}:multiply", x=6, y=7)
        answers["fail"] = client.call(f"{ENDPOINTS}:fail", reason="on purpose")
        answers["wrong type"] = client.call(f"{ENDPOINTS}:multiply", x="six", y=7)
        answers["ticks"] = client.generator(100)
        answers["double"] = client.conversation()
        answers["hang"] = client.cancelled()
        answers["not for clients"] = client.call(f"{ENDPOINTS}:add", x=1, y=2)
        answers["not there"] = client.call("os:system", command="true")
        answers["register"] = client.call("self:register", addresses=["ws://192.0.2.1:1"])
        answers["cancel actor"] = client.cancel_actor()
        answers["afterwards"] = client.call(f"{ENDPOINTS}:multiply", x=2, y=3)
    return answers


if __name__ == "__main__":
    print(json.dumps(session(*sys.argv[1:])))
