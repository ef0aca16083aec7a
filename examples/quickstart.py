"""Hash a directory tree with a worker process per core, over two transports at once.

Usage: python examples/quickstart.py [DIRECTORY]

Without an argument it takes Python's own standard library. Every directory is one job. The workers
pull jobs until there are none left, and stream back what they found file by file. One job fails on
purpose, because its directory has vanished: that is reported, and the work goes on.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import trio

import tractor_core as tractor

SUFFIXES = {".py", ".pyi", ".txt", ".rst", ".md", ".toml", ".cfg", ".json"}


@dataclass
class FileFacts:
    """What a worker finds out about one file; it arrives as a FileFacts again, checked."""

    path: str
    lines: int
    size: int
    sha256: str


# -- in the workers ----------------------------------------------------------------------------


async def survey(directory: str) -> AsyncIterator[FileFacts]:
    """Hash the files of one directory and count their lines."""
    # Reading and hashing block this process, and that is what it is for: nobody else lives here.
    for entry in sorted(Path(directory).iterdir()):  # noqa: ASYNC240
        if entry.suffix in SUFFIXES and entry.is_file():
            content = entry.read_bytes()
            lines = content.count(b"\n")
            yield FileFacts(str(entry), lines, len(content), hashlib.sha256(content).hexdigest())


# -- in the root -------------------------------------------------------------------------------


class Survey:
    """What has been found so far, and by whom."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.files: list[FileFacts] = []
        self.workers: list[str] = []
        self.failures: list[str] = []
        self.started_at = time.perf_counter()

    def add(self, facts: FileFacts) -> None:
        self.files.append(facts)
        if sys.stdout.isatty() and (len(self.files) % 20 == 0 or len(self.files) == self.expected):
            done = 40 * len(self.files) // max(1, self.expected)
            bar = "#" * done + "." * (40 - done)
            print(f"\r[{bar}] {len(self.files)}/{self.expected} files", end="", flush=True)

    def say(self, text: str) -> None:
        """Print a line, in place of the progress bar where there is one."""
        print(f"\r{text:<72}" if sys.stdout.isatty() else text)

    def report(self) -> None:
        self.say(f"{'worker':<10} {'pid':>8} {'over':>5} {'jobs':>5} {'files':>6} {'lines':>9} {'MB':>7}")
        for line in sorted(self.workers):
            print(line)
        whole = hashlib.sha256()
        for facts in sorted(self.files, key=lambda facts: facts.path):
            whole.update(bytes.fromhex(facts.sha256))
        lines, size = sum(f.lines for f in self.files), sum(f.size for f in self.files)
        seconds = time.perf_counter() - self.started_at
        print(f"{len(self.files)} files, {lines} lines, {size / 1e6:.1f} MB in {seconds:.2f} s")
        print(f"not done, the rest all the same: {', '.join(self.failures) or 'nothing'}")
        print(f"fingerprint of the whole tree: {whole.hexdigest()[:16]}")


async def work(
    nursery: tractor.ActorNursery,
    name: str,
    scheme: str,
    jobs: trio.MemoryReceiveChannel[str],
    result: Survey,
) -> None:
    """Start a worker that talks over ``scheme``, and feed it jobs until there are none left."""
    portal = await nursery.start_actor(name, enable_modules=[__name__], enable_transports=[scheme])
    done, files, lines, size = 0, 0, 0, 0
    async for directory in jobs:
        try:
            # Each file comes as soon as it is hashed. A worker that is ahead of us waits.
            async with portal.open_stream_from(survey, directory=directory) as stream:
                async for facts in stream:
                    result.add(facts)
                    files, lines, size = files + 1, lines + facts.lines, size + facts.size
            done += 1
        except tractor.RemoteActorError as error:
            # What was raised over there is raised here, and the worker is none the worse for it.
            result.failures.append(directory)
            result.say(f"{name}: {error.boxed_type_str} in {directory}")
    over = portal.chan.laddr.scheme
    result.workers.append(
        f"{name:<10} {portal.chan.aid.pid:>8} {over:>5} {done:>5} {files:>6} {lines:>9} {size / 1e6:>7.1f}"
    )
    await portal.cancel_actor()


def find_jobs(root: Path) -> dict[str, int]:
    """The directories below ``root`` that hold text, and how many files of it."""
    jobs: dict[str, int] = {}
    for directory, below, names in os.walk(root):
        below[:] = sorted(name for name in below if name not in {"site-packages", "__pycache__", ".git"})
        count = sum(1 for name in names if Path(name).suffix in SUFFIXES)
        if count:
            jobs[directory] = count
    return jobs


async def main(root: Path) -> None:
    found = find_jobs(root)
    # The largest first, so that nobody is left with a big one at the end.
    directories = sorted(found, key=lambda directory: -found[directory])
    directories.insert(1, str(root / "vanished"))

    async with tractor.open_nursery(enable_transports=["tcp", "uds"]) as nursery:
        # Both of them, unless TRACTOR_TRANSPORTS says otherwise.
        schemes = list(dict.fromkeys(address.scheme for address in tractor.current_actor().accept_addrs))
        count = max(2, os.cpu_count() or 1)
        print(f"{len(found)} directories of {root}, {count} workers over {' and '.join(schemes)}")

        result = Survey(expected=sum(found.values()))
        send, jobs = trio.open_memory_channel[str](len(directories))
        for directory in directories:
            send.send_nowait(directory)
        send.close()
        async with trio.open_nursery() as tasks:
            for index in range(count):
                scheme = schemes[index % len(schemes)]
                tasks.start_soon(work, nursery, f"worker-{index}", scheme, jobs, result)
    result.report()


if __name__ == "__main__":
    where = sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("stdlib")
    trio.run(main, Path(where))
