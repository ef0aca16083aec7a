"""Memory for large values is had from the kernel once, not again for each of them."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Takes values of 1 MiB as a stream does, eight at a time, and tells how many pages it had to get.
RECEIVING = """
import resource
from tractor_core.msg.codec import wire_codec
from tractor_core.msg.types import Chunk, Yield
from tractor_core.protocol.chunks import Cutter, Joiner

codec = wire_codec()
message = codec.encode(Yield(2, bytes(1024 * 1024)))
pieces = []
cutter = Cutter(2, message)
while cutter.left:
    pieces.append(cutter.next())
joiner = Joiner(limit=2**24, budget=2**24)


def receive():
    values = []
    for _ in range(8):
        for piece in pieces:
            whole = joiner.add(piece)
        values.append(codec.decode(whole).pld)
    for value in values:
        assert len(codec.decode_payload(value)) == 1024 * 1024


receive()
receive()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    receive()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have ways of their own")
def test_freed_memory_is_used_again() -> None:
    program = [sys.executable, "-c", RECEIVING]
    faults = int(subprocess.run(program, capture_output=True, check=True, timeout=30).stdout)
    # Each value has 256 pages, and an object of as many is made of it.
    assert faults < 80 * 64
