"""One program, unchanged, with each transport as its only one, and with four at once: the same output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from registries import certificates

PROGRAM = Path(__file__).parent / "programs" / "everything.py"

SCHEMES = ("tcp", "uds", "zmq+tcp", "zmq+ipc", "ws", "tls", "wss")

#: The spawn method that each goes with: none is tied to a transport.
METHODS = ("subprocess", "forkserver", "multiprocessing")

#: Best first: what each pair of actors is expected to choose.
FOUR = ("uds", "zmq+tcp", "ws", "tls")

OUTPUT = """\
sum 42
digest dba67a476fa7
large 9437184
at once 2450
squares 332833500
totals from 100 to 44950 and 44950
refused: Unwilling not today not today
badly called: $.y
failed below: lower -> upper -> worker Unwilling
well after that 2
gave up True
cancelled what was holding
cancelled a nursery True
chain first second third 3
asked a colleague 7
found when gone None
dialled worker who adds up to 11
will end True
done
"""

#: Somebody else on this machine has a program of theirs at the transport's well-known address, or tried to
#: join this one's there.
STRANGERS = re.compile(
    r"[^\n]*; this tree keeps a private registry instead\n"
    r"|[^\n]*refused (peer|\d+ more)[^\n]*\n"
)


def run(transports: str, start_method: str, session: Path, directory: Path) -> tuple[str, list[str]]:
    """What the program prints, and the transports it was spoken to over."""
    environment = {
        **os.environ,
        **certificates(session),
        "TRACTOR_TRANSPORTS": transports,
        "TRACTOR_SPAWN_METHOD": start_method,
        "XDG_RUNTIME_DIR": str(directory),
    }
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], env=environment, capture_output=True, text=True, timeout=50
    )
    spoken = re.findall(r"^spoken(?: to)? over (\S+)\n", done.stderr, re.MULTILINE)
    rest = re.sub(r"^spoken(?: to)? over \S+\n", "", done.stderr, flags=re.MULTILINE)
    assert (done.returncode, STRANGERS.sub("", rest)) == (0, ""), done.stdout
    return done.stdout, spoken


@pytest.fixture
def directory() -> Path:
    """For sockets: short, and nobody else's."""
    path = Path(os.environ["XDG_RUNTIME_DIR"], "one-program")
    path.mkdir(mode=0o700, exist_ok=True)
    return path


@pytest.mark.limit(60)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_transport(scheme: str, directory: Path) -> None:
    method = METHODS[SCHEMES.index(scheme) % len(METHODS)]
    output, spoken = run(scheme, method, directory.parent.parent, directory)
    assert output == OUTPUT
    assert spoken == [scheme, scheme]


@pytest.mark.limit(60)
def test_four_transports_at_once(directory: Path) -> None:
    output, spoken = run(",".join(FOUR), "subprocess", directory.parent.parent, directory)
    assert output == OUTPUT
    assert set(spoken) <= set(FOUR)
