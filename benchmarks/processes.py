"""What /proc tells of processes: who descends from whom, what each holds, where it listens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop
from sys import byteorder

_LISTENING = "0A"


def parents() -> dict[int, int]:
    """Every process's parent."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue  # it has ended
            found[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    return found


def descendants(root: int) -> list[int]:
    """The processes below ``root``, without it."""
    of = parents()
    below = {root}
    while more := {pid for pid, parent in of.items() if parent in below} - below:
        below |= more
    return sorted(below - {root})


def private_bytes(pid: int) -> int:
    """Memory of a process that no other shares (bytes); 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def descriptors(pid: int) -> int:
    """How many descriptors a process has open; 0 once it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def listening(pids: list[int]) -> set[str]:
    """The network addresses at which any of these processes listens, without ports."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    return {host for host, inode in _listeners() if inode in inodes}


def is_local(host: str) -> bool:
    """Whether nobody outside this machine reaches what listens at ``host``."""
    return host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")


def _sockets(pid: int) -> Iterator[str]:
    directory = f"/proc/{pid}/fd"
    try:
        entries = os.listdir(directory)
    except OSError:
        return
    for entry in entries:
        try:
            target = os.readlink(f"{directory}/{entry}")
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[len("socket:[") : -1]


def _listeners() -> Iterator[tuple[str, str]]:
    for name, family in (("tcp", AF_INET), ("tcp6", AF_INET6)):
        table = Path("/proc/net", name)
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                yield _host(fields[1].partition(":")[0], family), fields[9]


def _host(text: str, family: int) -> str:
    """The kernel writes 32-bit words in the machine's own order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    return inet_ntop(family, b"".join(word.to_bytes(4, byteorder) for word in words))
