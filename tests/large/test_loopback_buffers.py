"""What the kernel may hold of a connection on this host, in front of the next small frame."""

from __future__ import annotations

import socket
from contextlib import suppress

from tractor_core.seams.internet import LOOPBACK_BUFFER, set_options


def test_little_piles_up_in_front_of_a_small_frame() -> None:
    """However much is written to a peer that does not read, the kernel takes no megabytes of it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        far, _ = server.accept()
        with far:
            for sock in (near, far):
                set_options(sock)
                sock.setblocking(False)
            for _ in range(300):
                # A reader that keeps up makes the kernel generous.
                with suppress(BlockingIOError):
                    near.send(b"x" * 262_144)
                with suppress(BlockingIOError):
                    while far.recv(262_144):
                        pass
            taken = 0
            with suppress(BlockingIOError):
                while True:
                    taken += near.send(b"x" * 65_536)
            assert 0 < taken <= 4 * LOOPBACK_BUFFER
