"""Memory that two processes of one host share: a file without a name, passed from one to the other. Linux.

It is gone when neither has it mapped any more, however they end. The file is sealed before it is shared, so
that its size stays: who reads beyond the end of a file that has shrunk is killed by SIGBUS.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import stat
import sys
from collections.abc import Callable
from typing import Any, Final

#: Whether this system has such memory.
AVAILABLE: Final = sys.platform == "linux" and hasattr(os, "memfd_create")

# Not to be run as a program. Kernels before 6.3 do not know it; later ones may insist on it.
_MFD_NOEXEC_SEAL: Final = 0x8


class _BufferInfo(ctypes.Structure):
    """``Py_buffer``, of the stable ABI: the only way to the address of memory that cannot be written."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("exporter", ctypes.c_void_p),
        ("size", ctypes.c_ssize_t),
        ("item_size", ctypes.c_ssize_t),
        ("read_only", ctypes.c_int),
        ("dimensions", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("sub_offsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get_buffer = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p, ctypes.c_int)(
    ("PyObject_GetBuffer", ctypes.pythonapi)
)
_release_buffer = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyBuffer_Release", ctypes.pythonapi))


def create_memory(size: int) -> tuple[int, mmap.mmap]:
    """New memory of ``size`` bytes, sealed: its descriptor, and where this process may write to it.

    ``OSError`` where the system has none left.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create("tractor-core", flags | _MFD_NOEXEC_SEAL)
    except OSError:
        descriptor = os.memfd_create("tractor-core", flags)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | _size_seals())
        memory = _mapped(descriptor, size, mmap.PROT_READ | mmap.PROT_WRITE)
        # A process that is forked has no business in it, and must not keep it.
        memory.madvise(mmap.MADV_DONTFORK)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, memory


def can_hold(size: int) -> bool:
    """Whether there are the descriptors and the addresses for another process's memory of that size now.

    Once that is on its way it is too late to say no.
    """
    try:
        descriptor, memory = create_memory(size)  # which takes the same
    except OSError:
        return False
    memory.close()
    os.close(descriptor)
    return True


class PeerMemory:
    """Memory of another process, which it may go on writing to; here it can only be read.

    Takes the descriptor, and closes it in any case. ``ValueError`` where that is not what
    :func:`create_memory` makes, of exactly ``size`` bytes; ``OSError`` where it cannot be mapped.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        try:
            _check(descriptor, size)
            self._memory = _mapped(descriptor, size, mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self._address = _address_of(self._memory)
        self._part: Any = type("_LentPart", (_Part, ctypes.c_char * size), {})

    def view(self, start: int, size: int, unused: Callable[[int], object]) -> memoryview:
        """A part of it, read-only, which may outlive this object.

        ``unused(start)`` is called once that view and all that were made of it are gone, in whatever thread
        that happens, and possibly within a garbage collection.
        """
        part = self._part.from_address(self._address)
        part.memory = self._memory
        part.start = start
        part.unused = unused
        return memoryview(part)[start : start + size].toreadonly().cast("B")


class _Part:
    """Exports the memory to views, which keep it alive, and notices when the last of them is gone.

    A ``memoryview`` cannot do that itself: nothing can refer to one weakly.
    """

    memory: mmap.mmap
    start: int
    unused: Callable[[int], object]

    def __del__(self) -> None:
        self.unused(self.start)


def _size_seals() -> int:
    return fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


def _check(descriptor: int, size: int) -> None:
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("a descriptor that is not of shared memory")
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        raise ValueError("an ordinary file instead of shared memory") from None
    if seals & _size_seals() != _size_seals():
        raise ValueError("shared memory that could shrink")
    if facts.st_size != size:
        raise ValueError(f"shared memory of {facts.st_size} bytes that should have {size}")
    if os.fstatvfs(descriptor).f_bsize != mmap.PAGESIZE:
        # Of huge pages there may be none left when it is read, which kills like a file that has shrunk.
        raise ValueError("shared memory with pages of another size")


def _mapped(descriptor: int, size: int, protection: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, size, mmap.MAP_SHARED, protection, trackfd=False)
    # Keeps a descriptor of its own for as long as it is mapped.
    return mmap.mmap(descriptor, size, mmap.MAP_SHARED, protection)


def _address_of(memory: mmap.mmap) -> int:
    info = _BufferInfo()
    _get_buffer(memory, ctypes.addressof(info), 0)
    address = int(info.address)
    _release_buffer(ctypes.addressof(info))
    return address
