"""What can be read of a message whose payload cannot: which it is, and whose.

A decoder gives up where nesting exceeds what its Python can follow, also when it only skips a value.
The head of the message is flat, and tells which dialog has to hear of it.
"""

from __future__ import annotations

import re
from typing import Final

from .payload import CodecName, Encoded
from .types import Return, Start, Started, Yield

#: Flat elements before the payloads, the tag included, and how many payloads there are.
_LAYOUTS: Final = {
    **{kind.__struct_config__.tag: (2, 1) for kind in (Started, Yield, Return)},
    Start.__struct_config__.tag: (4, 2),
}

#: The longest head that is looked at (bytes): a target has no reason to be longer.
_HEAD = 4096

_JSON_HEAD = re.compile(rb'\s*\[\s*(\d+)((?:\s*,\s*(?:\d+|"(?:[^"\\]|\\.)*"))*)')
_JSON_ELEMENT = re.compile(rb'\s*,\s*(?:\d+|"(?:[^"\\]|\\.)*")')

# Bytes of an integer, its marker included, and of a string's length.
_NUMBERS: Final = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_LENGTHS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS: Final = {0xDC: 3, 0xDD: 5}


def without_payloads(frame: Encoded, name: CodecName) -> bytes | None:
    """The encoded message with nil for each payload; None where it is none of those that carry any."""
    head = bytes(memoryview(frame)[:_HEAD])
    return _json(head) if name == "json" else _msgpack(head)


def _msgpack(head: bytes) -> bytes | None:
    begin = 1 if head[0] >> 4 == 0x9 else _ARRAYS.get(head[0], 0)
    layout = _LAYOUTS.get(head[begin]) if 0 < begin < len(head) else None
    if layout is None:
        return None
    flat, payloads = layout
    end = begin
    for _ in range(flat):
        size = _size(head, end)
        if not size:
            return None
        end += size
    return bytes([0x90 + flat + payloads]) + head[begin:end] + b"\xc0" * payloads


def _size(head: bytes, at: int) -> int:
    """Bytes of the integer or string there; 0 for anything else, or where the head ends."""
    if at >= len(head):
        return 0
    first = head[at]
    if first < 0x80 or first >= 0xE0:
        return 1
    if first >> 5 == 0x5:
        return 1 + (first & 0x1F)
    if width := _LENGTHS.get(first):
        return 1 + width + int.from_bytes(head[at + 1 : at + 1 + width], "big")
    return _NUMBERS.get(first, 0)


def _json(head: bytes) -> bytes | None:
    match = _JSON_HEAD.match(head)
    layout = _LAYOUTS.get(int(match[1])) if match is not None and len(match[1]) < 4 else None
    if match is None or layout is None:
        return None
    flat, payloads = layout
    elements = _JSON_ELEMENT.findall(match[2])[: flat - 1]
    if len(elements) < flat - 1:
        return None
    return b"[" + match[1] + b"".join(elements) + b",null" * payloads + b"]"
