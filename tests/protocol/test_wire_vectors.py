"""The wire format does not change by accident: every message against its stored encodings."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_samples import SAMPLES, VECTORS, files

from tractor_core.msg import types as m
from tractor_core.msg.codec import CODEC_NAMES, CodecName, wire_codec


def stored(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def frame_of(codec: str, name: str) -> bytes:
    entry = stored(codec)[name]
    return entry["text"].encode() if codec == "json" else bytes.fromhex(entry["hex"])


def raw(codec: CodecName, value: Any) -> Any:
    return wire_codec(codec).encode_payload(value)


def as_received(codec: CodecName, message: m.Message) -> m.Message:
    """The message with its payloads encoded, as a decoder leaves them."""
    fields = {"pld", "args", "kwargs", "spec"} & set(message.__struct_fields__)
    return msgspec.structs.replace(message, **{name: raw(codec, getattr(message, name)) for name in fields})


@pytest.mark.parametrize("path", sorted(files()), ids=lambda path: path.name)
def test_the_files_hold_these_samples(path: Path) -> None:
    assert json.loads(path.read_text(encoding="utf-8")) == files()[path]


def test_every_message_has_a_sample() -> None:
    assert {type(message) for message in SAMPLES.values()} == set(m.__msg_types__)


@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("name", SAMPLES)
def test_encoding_and_decoding(codec: CodecName, name: str) -> None:
    frame, message = frame_of(codec, name), SAMPLES[name]
    assert wire_codec(codec).encode(message) == frame
    decoded = wire_codec(codec).decode(frame)
    assert type(decoded) is type(message)
    assert decoded == as_received(codec, message)
    assert wire_codec(codec).encode(decoded) == frame


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_newer_peers_may_add_fields(codec: CodecName) -> None:
    """A field more at the end of any message is ignored: that is how the protocol can grow."""
    module = msgspec.json if codec == "json" else msgspec.msgpack
    for name in SAMPLES:
        frame = frame_of(codec, name)
        longer = module.encode([*module.decode(frame), "new"])
        assert wire_codec(codec).decode(longer) == wire_codec(codec).decode(frame)


# -- the handshake, as docs/reference/wire.rst describes it ------------------------------------------


def proof_as_documented(key: bytes, direction: bytes, method: bytes, hellos: tuple[bytes, bytes]) -> bytes:
    nonces = [bytes(msgspec.msgpack.decode(hello)[4]) for hello in hellos]
    parts = [b"tractor-core handshake proof", direction, b"tractor-core/1", method, *nonces, *hellos]
    text = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    return hmac.new(key, text, hashlib.sha256).digest()


def test_proofs_are_made_as_documented() -> None:
    frames = {name: bytes.fromhex(text) for name, text in stored("handshake").items()}
    hellos = (frames["1_dialler_hello"], frames["2_acceptor_hello"])
    for name, direction in (("3_dialler_auth", b"dialler"), ("4_acceptor_auth", b"acceptor")):
        tag, method, mac = msgspec.msgpack.decode(frames[name])
        assert (tag, method) == (2, "key")
        assert mac == proof_as_documented(frames["key"], direction, b"key", hellos)


# -- damage ------------------------------------------------------------------------------------------


def decodes_or_refuses(codec: CodecName, frame: bytes) -> None:
    try:
        message = wire_codec(codec).decode(frame)
    except msgspec.DecodeError:
        return
    assert isinstance(message, m.Message)


@given(codec=st.sampled_from(CODEC_NAMES), frame=st.binary(max_size=300))
def test_any_bytes(codec: CodecName, frame: bytes) -> None:
    decodes_or_refuses(codec, frame)


@given(
    codec=st.sampled_from(CODEC_NAMES),
    tag=st.integers(0, 20),
    rest=st.lists(
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text()),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=6,
        ),
        max_size=6,
    ),
)
def test_any_fields(codec: CodecName, tag: int, rest: list[Any]) -> None:
    module = msgspec.json if codec == "json" else msgspec.msgpack
    decodes_or_refuses(codec, module.encode([tag, *rest]))


@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_single_bit_of_damage(codec: CodecName, name: str) -> None:
    frame = frame_of(codec, name)
    for position in range(len(frame) * 8):
        damaged = bytearray(frame)
        damaged[position // 8] ^= 1 << position % 8
        decodes_or_refuses(codec, bytes(damaged))


@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_frame_cut_short(codec: CodecName, name: str) -> None:
    frame = frame_of(codec, name)
    for length in range(len(frame)):
        with pytest.raises(msgspec.DecodeError):
            wire_codec(codec).decode(frame[:length])


@pytest.mark.parametrize(
    "frame",
    [
        b"[14,4,1" + b"0" * 5000 + b",2]",
        b"[14,4,1e5000,2]",
        b"[14,4,1e3,2]",
        b"[" * 100_000,
        b'[8,4,"' + b"\\ud800" + b'"]',
        b'[11,4,["a","b","c",[["x","y"]],"",[],"!not base64"]]',
        b'[11,4,["\xff","b","c"]]',
    ],
    ids=["digits", "exponent", "float", "nesting", "surrogate", "base64", "utf8"],
)
def test_hostile_json(frame: bytes) -> None:
    decodes_or_refuses("json", frame)
