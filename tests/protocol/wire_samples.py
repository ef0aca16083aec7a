"""Samples of every message, and the files in ``tests/vectors`` that hold them encoded.

``python tests/protocol/wire_samples.py`` writes the files anew. They are what a peer in another
language is tested against: a change in them is a change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from tractor_core.msg import types as m
from tractor_core.msg.codec import wire_codec
from tractor_core.protocol.auth import OneTimeSecrets
from tractor_core.protocol.handshake import Acceptor, Dialler, Identity, refusal
from tractor_core.seams import PeerFacts

VECTORS = Path(__file__).resolve().parents[1] / "vectors"

AID = m.Aid("worker", "0123456789abcdef0123456789abcdef", 4711, False)
ROOT = m.Aid("root", "fedcba9876543210fedcba9876543210", 42, True)
UID = ("root", "fedcba9876543210fedcba9876543210")
WORKER = ("worker", "0123456789abcdef0123456789abcdef")
NONCE = bytes(range(32))

INNER = m.BoxedError("builtins:KeyError", "'x'", "builtins:KeyError")
BOXED = m.BoxedError(
    "builtins:ValueError",
    "boom",
    "builtins:ValueError",
    [WORKER],
    "Traceback (most recent call last): …",
    ["a note"],
    b"\x91\xa4boom",
)
GROUP = m.BoxedError("builtins:ExceptionGroup", "two", "builtins:ExceptionGroup", members=[BOXED, INNER])
CANCELLED = m.BoxedError(
    "tractor_core.errors:ContextCancelled",
    "task in worker@01234567 was cancelled by root",
    "tractor_core.errors:ContextCancelled",
    [WORKER],
    kind="cancelled",
    canceller=UID,
)
SPEC = m.ActorSpec(["program.workers"], registry_addrs=["tcp://127.0.0.1:1616"], registrar=ROOT)

#: Payloads are plain values here; a decoder leaves them encoded.
SAMPLES: dict[str, m.Message] = {
    "hello": m.Hello(AID, m.PROTOCOL, ["msgpack", "json"], NONCE),
    "auth-key": m.Auth("key", bytes(range(32, 64))),
    "auth-peercred": m.Auth("peercred"),
    "spawn-spec": m.SpawnSpec(SPEC),  # type: ignore[arg-type]
    "ready": m.Ready(["tcp://127.0.0.1:40123", "uds:///run/user/1000/tractor-core-1000/worker.sock"]),
    "start-call": m.Start(0, "program:add", "asyncfunc", [1, 2], {}),  # type: ignore[arg-type]
    "start-context": m.Start(2, "program:echo", "context", [], {"n": 5, "text": "ä€😀"}),  # type: ignore[arg-type]
    "start-ack": m.StartAck(2, "context"),
    "started": m.Started(2, None),  # type: ignore[arg-type]
    "yield-int": m.Yield(2, 300),  # type: ignore[arg-type]
    "yield-float": m.Yield(70_000, 0.5),  # type: ignore[arg-type]
    "yield-bytes": m.Yield(2, b"\0\xff"),  # type: ignore[arg-type]
    "yield-nested": m.Yield(2, {"a": [1, -1, None, True, {"b": "c"}]}),  # type: ignore[arg-type]
    "return": m.Return(0, 3),  # type: ignore[arg-type]
    "stop": m.Stop(2),
    "error": m.Error(0, BOXED),
    "error-group": m.Error(0, GROUP),
    "error-cancelled": m.Error(2, CANCELLED),
    "error-cause": m.Error(2, msgspec.structs.replace(INNER, cause=BOXED)),
    "cancel": m.Cancel(2, UID, "", None, False),
    "cancel-runtime": m.Cancel(4, UID, "done", 1.5, True),
    "cancel-ack": m.CancelAck(2, True),
    "cancel-ack-refused": m.CancelAck(4, False),
    "credit": m.Credit(2, 32, 4_194_304),
    "open": m.Open(2, 64, 8_388_608, "raise"),
    "chunk-first": m.Chunk(2, False, memoryview(b"\x93\x08\x02\xc5"), 70_000),
    "chunk": m.Chunk(2, False, memoryview(b"\x93\x08\x02\xc5")),
    "chunk-last": m.Chunk(2, True, memoryview(b"\xff")),
    "ping": m.Ping(1),
    "pong": m.Pong(1),
    "invite": m.Invite(),
    "memory": m.Memory(33_554_432),
    "lend": m.Lend(1_052_672, 1_048_586),
    "release": m.Release([0, 1_052_672]),
}


def encoded(codec: str) -> dict[str, dict[str, Any]]:
    """The samples by name, with their type and their encoding."""
    found = {}
    for name, message in SAMPLES.items():
        frame = wire_codec(codec).encode(message)
        kind = type(message)
        text = {"text": frame.decode()} if codec == "json" else {"hex": frame.hex()}
        found[name] = {"type": kind.__name__, "tag": kind.__struct_config__.tag, **text}
    return found


def handshake() -> dict[str, str]:
    """One whole exchange, by a key: what each side sends, and one refusal."""
    key = bytes(range(100, 132))
    facts = PeerFacts()
    near = Dialler(Identity(AID, key), nonce=NONCE, facts=facts, my_uid=1000)
    far = Acceptor(
        Identity(ROOT, key), nonce=NONCE[::-1], facts=facts, my_uid=1000, spawn_secrets=OneTimeSecrets()
    )
    hello = near.hello()
    far.on_hello(hello)
    answer = far.hello()
    proof = near.on_hello(answer)
    verdict, _ = far.on_auth(proof)
    near.on_answer(verdict)
    frames = {
        "key": key,
        "1_dialler_hello": hello,
        "2_acceptor_hello": answer,
        "3_dialler_auth": proof,
        "4_acceptor_auth": verdict,
        "refusal": refusal("the dialler does not hold the key"),
    }
    return {name: frame.hex() for name, frame in frames.items()}


def files() -> dict[Path, Any]:
    """What should be in each of the files, as parsed JSON."""
    return {
        VECTORS / "msgpack.json": encoded("msgpack"),
        VECTORS / "json.json": encoded("json"),
        VECTORS / "handshake.json": handshake(),
    }


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
