"""Memory shared by two processes: how long it lives, and what is taken for it."""

from __future__ import annotations

import fcntl
import gc
import mmap
import os
import socket
import tempfile
import threading
from collections.abc import Callable

import pytest

from tractor_core.seams.shared_memory import PeerMemory, create_memory

SIZE = 64 * 1024
ALL_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def mappings() -> int:
    with open("/proc/self/maps") as maps:
        return sum("memfd:tractor-core" in line for line in maps)


def test_what_one_writes_the_other_reads() -> None:
    before = mappings()
    descriptor, ours = create_memory(SIZE)
    assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & ALL_SEALS == ALL_SEALS
    assert not os.get_inheritable(descriptor)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    theirs = PeerMemory(descriptor, SIZE)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    ours[100:105] = b"first"
    view = theirs.view(100, 5, lambda _: None)
    assert (bytes(view), view.readonly, view.format, view.nbytes) == (b"first", True, "B", 5)
    ours[100:105] = b"later"
    assert view == b"later"
    ours.close()
    del theirs
    gc.collect()
    assert view == b"later", "a view keeps what it shows"
    del view
    gc.collect()
    assert mappings() == before


def test_the_end_of_the_last_view_is_noticed_wherever_it_is() -> None:
    descriptor, ours = create_memory(SIZE)
    memory = PeerMemory(descriptor, SIZE)
    gone: list[int] = []
    view = memory.view(4096, 100, gone.append)
    part = [view[10:20], memoryview(view).cast("B")[1:2]]
    del view
    assert gone == []
    part.pop()
    assert gone == []
    thread = threading.Thread(target=part.clear)
    thread.start()
    thread.join()
    assert gone == [4096]
    # In a cycle, which only the garbage collector ends.
    loop: list[object] = [memory.view(8192, 100, gone.append)]
    loop.append(loop)
    del loop
    gc.collect()
    assert gone == [4096, 8192]
    ours.close()


def ordinary_file() -> int:
    with tempfile.TemporaryFile() as file:
        file.truncate(SIZE)
        return os.dup(file.fileno())


def socket_end() -> int:
    near, far = socket.socketpair()
    far.close()
    return near.detach()


def pipe_end() -> int:
    near, far = os.pipe()
    os.close(far)
    return near


def memory_file(size: int = SIZE, *, seals: int = ALL_SEALS, flags: int = 0) -> int:
    descriptor = os.memfd_create("hostile", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


HOSTILE: dict[str, tuple[Callable[[], int], str]] = {
    "unsealed": (lambda: memory_file(seals=0), "could shrink"),
    "can grow": (lambda: memory_file(seals=fcntl.F_SEAL_SHRINK), "could shrink"),
    "tiny": (lambda: memory_file(4096), "4096 bytes that should have"),
    "empty": (lambda: memory_file(0), "0 bytes that should have"),
    "larger": (lambda: memory_file(2 * SIZE), "131072 bytes that should have"),
    "ordinary file": (ordinary_file, "ordinary file"),
    "socket": (socket_end, "not of shared memory"),
    "pipe": (pipe_end, "not of shared memory"),
    "directory": (lambda: os.open("/", os.O_RDONLY), "not of shared memory"),
    "device": (lambda: os.open("/dev/zero", os.O_RDWR), "not of shared memory"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_else_is_taken_and_all_is_closed(kind: str) -> None:
    make, reason = HOSTILE[kind]
    descriptor = make()
    with pytest.raises(ValueError, match=reason):
        PeerMemory(descriptor, SIZE)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_memory_of_huge_pages_is_not_taken() -> None:
    """Reading it can kill, where the system has no such page left."""
    huge = 2 * 1024 * 1024
    try:
        descriptor = memory_file(huge, flags=os.MFD_HUGETLB)
    except OSError:
        # A system without huge pages has no such memory either: nothing to take.
        return
    with pytest.raises((ValueError, OSError)):
        PeerMemory(descriptor, huge)


def test_memory_that_cannot_be_read_is_not_taken() -> None:
    descriptor = memory_file()
    opened = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY)
    os.close(descriptor)
    with pytest.raises(OSError):
        PeerMemory(opened, SIZE)


def test_writing_to_it_is_refused() -> None:
    descriptor, ours = create_memory(SIZE)
    view = PeerMemory(descriptor, SIZE).view(0, mmap.PAGESIZE, lambda _: None)
    with pytest.raises(TypeError):
        view[0] = 1
    ours.close()


def test_a_forked_process_has_no_part_in_the_senders_memory() -> None:
    descriptor, ours = create_memory(SIZE)
    os.close(descriptor)
    pid = os.fork()
    if not pid:
        os._exit(mappings())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    ours.close()
