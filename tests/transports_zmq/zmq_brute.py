"""A peer that holds the key and reads nothing: ``python zmq_brute.py dial|listen ENDPOINT``.

It says ``up``, sends 20,000 messages when a line on stdin tells it to, says ``sent``, and waits to be killed.
"""

from __future__ import annotations

import sys
import time

import zmq
from zmq_peer import KEY

from tractor_zmq.keys import dialler_keys, listener_keys
from tractor_zmq.options import DATA, HELLO, PROTOCOL

TOKEN = b"t" * 16


def hesitant_socket(context: zmq.Context[zmq.Socket[bytes]], role: str) -> zmq.Socket[bytes]:
    """One whose peer gets stuck as soon as nobody reads."""
    sock = context.socket(zmq.DEALER if role == "dial" else zmq.ROUTER)
    sock.linger = 0
    sock.rcvhwm = 1
    sock.sndhwm = 0
    if role == "dial":
        dialler = dialler_keys(KEY, None)
        sock.curve_serverkey = dialler.listener
        sock.curve_publickey, sock.curve_secretkey = dialler.own.public, dialler.own.secret
    else:
        listener = listener_keys(KEY, None)
        sock.curve_server = 1
        sock.curve_secretkey = listener.own.secret
    return sock


def begin(sock: zmq.Socket[bytes], role: str, endpoint: str) -> list[bytes]:
    """Connect or accept; returns the frames that go before each message, and last the token."""
    if role == "dial":
        sock.connect(endpoint)
        sock.send(HELLO + TOKEN + PROTOCOL)
        return [TOKEN]
    identity, hello = sock.recv_multipart()
    return [identity, hello[1:17]]


def main(role: str, endpoint: str) -> None:
    sock = hesitant_socket(zmq.Context(), role)
    if role == "listen":
        sock.bind(endpoint)
        print("bound", flush=True)
    *route, token = begin(sock, role, endpoint)
    print("up", flush=True)
    sys.stdin.readline()
    for _ in range(20_000):
        sock.send_multipart([*route, DATA + token + b"x"])
    print("sent", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
