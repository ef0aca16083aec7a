"""Every example runs by itself, over every transport, says what it should and leaves nothing behind.

(That no process, socket file or descriptor is left is checked after each test by ``conftest.py``.)
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from registries import (
    ENCRYPTED,
    METHOD_VARIABLE,
    OF_FILES,
    TRANSPORTS_VARIABLE,
    Way,
    certificates,
    ways,
)

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"

#: The ways that examples go, chosen from outside.
WAYS = ways("registry")

#: Modules that other examples import; they are no programs to be run to their end.
IMPORTED = {"live_market", "timekeeper"}

#: Services for a browser, which tests/browser looks at.
FOR_BROWSERS = {"live_page"}

#: The whole output of each example, as a regular expression.
OUTPUTS = {
    "asgi_service": r"""
ada is number 1
ada reads \['ada'\]
the page says '1 guests: ada'
grace is number 2
grace reads \['ada', 'grace'\]
the page says '2 guests: ada, grace'
""",
    "broadcast": r"""
(early|punctual) received 200 of 200
(early|punctual) received 200 of 200
sleepy is told that it missed some
sleepy received \d+ of 200
""",
    "cluster": r"""
north  157144 of 200000
east   156860 of 200000
south  157245 of 200000
west   156891 of 200000
pi is about 3\.141
""",
    "daemon_and_client": r"""
found timekeeper
February 2024 has 29 days
2024-02-28
2024-02-29
2024-03-01
it will end: True
the daemon returned 0
""",
    "error_groups": r"""
one actor, several errors:
  LookupError: nothing is called c-gone \(ask for it by another name\)
  because of: KeyError
  TimeoutError: a-late did not answer
several actors, an error of each:
  look-ups: LookupError in north: nothing is called gone
  others: TimeoutError in south: late did not answer
""",
    "error_propagation": r"""
what the last actor raised: RemoteActorError
what the first one raised: OutOfCoffee
the way it came: bottom -> middle -> root
and unwrapped: OutOfCoffee\('no beans for 3 cups'\)
cancelled in good order: True
""",
    "light_client": r"""
dialled timekeeper
days of the months of 2023: 31 28 31 30 31 30 31 31 30 31 30 31
the thirteenth: ValueError: month must be in 1\.\.12
""",
    "nested_tree": r"""
root
  branch-0: 5
    leaf-0\.0: 0
    leaf-0\.1: 1
    leaf-0\.2: 4
  branch-1: 50
    leaf-1\.0: 9
    leaf-1\.1: 16
    leaf-1\.2: 25
total 55
""",
    "own_websocket_server": r"""
echo: is anybody there\?
squares: 1 4 9 16 25
""",
    "ping_pong": r"""
the ponger is ready
ping 0, pong
ping 1, pong
ping 2, pong
returned 3 balls
""",
    "pipeline": r"""
root\.worker_0 takes 0 to 4000
root\.worker_1 takes 4000 to 8000
root\.worker_2 takes 8000 to 12000
1438 primes below 12000, the largest 11987, together 8034435
""",
    "stream_policies": r"""
block: 8 of 100 were sent while nobody looked, 100 arrived
buffer: 100 of 100 were sent while nobody looked, 100 arrived
raise: the sender was stopped, and so are we
""",
    "typed_messages": r"""
total: 9\.15
refused: total\(\) argument '1' at \$\.1\.count: expected `int` >= 1
shop: open; payload: expected `str \| object`, got `int`
Receipt\(total=Decimal\('12\.20'\), due=datetime\.date\(2024, 3, 30\)\)
sold: 1 orders
""",
    "transports_by_url": r"""
daemon greets whoever dials tcp
daemon greets whoever dials uds
""",
}

#: The only things an example may say on standard error, and only over networks: somebody else on this machine
#: has a program of their own at the well-known port, or tried to join this one there and had another key.
STRANGERS = re.compile(
    r"[^\n]*://127\.0\.0\.1:16\d\d[^\n]*; this tree keeps a private registry instead\n"
    r"|refused peer [a-z+]+://127\.0\.0\.1:\d+: [^\n]*the dialler does not hold the key\n"
    r"|zmq\+tcp://127\.0\.0\.1:\d+ refused peer 127\.0\.0\.1:\d+: [^\n]*\n"
    r"|refused \d+ more from [a-z+]+://127\.0\.0\.1 within 1 s\n"
)


def run(name: str, transports: str, *arguments: str, start_method: str = "") -> str:
    """Run an example in an environment of its own; returns its standard output."""
    runtime_directory = Path(os.environ["XDG_RUNTIME_DIR"], f"{name[:8]}-{transports}")
    runtime_directory.mkdir(mode=0o700, exist_ok=True)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime_directory)}
    for variable, choice in ((TRANSPORTS_VARIABLE, transports), (METHOD_VARIABLE, start_method)):
        environment.pop(variable, None)
        if choice:
            environment[variable] = choice
    if transports in ENCRYPTED:
        environment.update(certificates(Path(os.environ["XDG_RUNTIME_DIR"]).parent))
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=25,
    )
    complaints = done.stderr
    if transports not in OF_FILES:
        complaints = STRANGERS.sub("", complaints)
    assert (done.returncode, complaints) == (0, ""), done.stdout
    return done.stdout


def expected(name: str) -> str:
    return OUTPUTS[name].removeprefix("\n")


def test_every_example_is_tested() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == {*OUTPUTS, *IMPORTED, *FOR_BROWSERS, "quickstart"}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("name", sorted(OUTPUTS.keys() - {"daemon_and_client"}))
def test_example(name: str, way: Way) -> None:
    assert re.fullmatch(expected(name), run(name, way.scheme, start_method=way.start_method))


def test_daemon_and_client_meet_at_an_address(registry: str) -> None:
    # Not at the well-known one: two programs could not meet where somebody else's is.
    output = run("daemon_and_client", registry.partition(":")[0], "both", registry)
    assert re.fullmatch(expected("daemon_and_client"), output)


def test_daemon_and_client_meet_without_being_told_where() -> None:
    assert re.fullmatch(expected("daemon_and_client"), run("daemon_and_client", "uds"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory tree whose every figure is known."""
    for directory, count in (("alpha", 3), ("beta", 5), ("alpha/gamma", 40)):
        (tmp_path / directory).mkdir(exist_ok=True)
        for number in range(count):
            (tmp_path / directory / f"{number:02}.txt").write_text(f"{directory} {number}\n" * (number + 1))
    (tmp_path / "beta" / "ignored.bin").write_bytes(b"\n\n")
    return tmp_path


def fingerprint(tree: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(map(str, tree.rglob("*.txt"))):
        whole.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return whole.hexdigest()[:16]


WORKER = re.compile(r"(worker-\d+) +(\d+) +(tcp|uds) +(\d+) +(\d+) +(\d+) +([\d.]+)")


@pytest.mark.parametrize("transports", ["", "tcp", "uds"])
def test_quickstart(transports: str, tree: Path) -> None:
    lines = run("quickstart", transports, str(tree)).splitlines()

    schemes = [transports] if transports else ["tcp", "uds"]
    workers = [found.groups() for line in lines if (found := WORKER.fullmatch(line))]
    assert re.fullmatch(
        rf"3 directories of .+, {len(workers)} workers over {' and '.join(schemes)}", lines[0]
    )
    assert any(re.fullmatch(rf"worker-\d+: FileNotFoundError in {tree}/vanished", line) for line in lines)

    assert len({pid for _, pid, *_ in workers}) == len(workers) >= 2
    assert {over for _, _, over, *_ in workers} == set(schemes)
    assert sum(int(jobs) for *_, jobs, _, _, _ in workers) == 3
    assert sum(int(files) for *_, files, _, _ in workers) == 48
    assert sum(int(count) for *_, count, _ in workers) == 6 + 15 + 820
    assert re.fullmatch(r"48 files, 841 lines, 0\.0 MB in \d+\.\d\d s", lines[-3])
    assert lines[-2] == f"not done, the rest all the same: {tree}/vanished"
    assert lines[-1] == f"fingerprint of the whole tree: {fingerprint(tree)}"


def test_quickstart_without_an_argument() -> None:
    lines = run("quickstart", "").splitlines()
    found = re.fullmatch(r"(\d+) files, (\d+) lines, [\d.]+ MB in [\d.]+ s", lines[-3])
    assert found is not None
    assert int(found[1]) > 500
    assert not any("\r" in line for line in lines)
