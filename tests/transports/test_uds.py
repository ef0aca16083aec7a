"""What is particular to unix sockets: files, rights, stale and live sockets, credentials."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import tractor_uds.endpoints
from tractor_core.seams import Address, Connection, Listener, PeerFacts, TransportOptions
from tractor_core.seams.socket_paths import MAX_PATH, runtime_directory
from tractor_uds import transport

OPTIONS = TransportOptions(connect_timeout=1.0)


def at(path: Path) -> Address:
    return Address("uds", path=str(path))


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("u")


@pytest.fixture(autouse=True)
def _own_runtime_directory(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))


def leave_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("tcp://h:1", "not uds"),
        ("uds://run/x", "three slashes"),
        ("uds:relative", "absolute"),
        ("uds:@", "absolute"),
        ("uds:///", "absolute"),
        ("uds:///x?mode=0", "'mode'"),
        ("uds:///a\0b", "NUL"),
        (f"uds:///{'x' * MAX_PATH}", f"{MAX_PATH + 1} bytes"),
        (f"uds:///{'ü' * 60}", "121 bytes"),
    ],
)
def test_parse_errors(url: str, part: str) -> None:
    with pytest.raises(ValueError) as caught:
        transport.parse(url)
    assert part in str(caught.value)


async def test_the_longest_path_works(directory: Path) -> None:
    path = directory / ("x" * (MAX_PATH - len(str(directory)) - 1))
    listener = await transport.listen(transport.parse(f"uds://{path}"), OPTIONS)
    await listener.aclose()


async def test_file_and_directory_are_private() -> None:
    address = transport.default_bind()
    listener = await transport.listen(address, OPTIONS)
    path = Path(address.path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.parent == runtime_directory()
    assert transport.exposure(address) == "user"
    assert transport.distance(address) == 0
    await listener.aclose()
    assert list(path.parent.iterdir()) == []
    assert transport.distance(address) is None


async def test_a_missing_directory_is_made_private(directory: Path) -> None:
    listener = await transport.listen(at(directory / "new" / "a.sock"), OPTIONS)
    assert stat.S_IMODE((directory / "new").stat().st_mode) == 0o700
    await listener.aclose()


@pytest.mark.parametrize("mode", [0o770, 0o702])
async def test_a_runtime_directory_others_can_write_is_refused_untouched(mode: int) -> None:
    runtime_directory().mkdir()
    runtime_directory().chmod(mode)
    with pytest.raises(PermissionError, match="writable by others"):
        await transport.listen(transport.default_bind(), OPTIONS)
    assert stat.S_IMODE(runtime_directory().stat().st_mode) == mode


async def test_a_runtime_directory_that_is_a_link_is_refused(directory: Path) -> None:
    (directory / "elsewhere").mkdir(mode=0o700)
    runtime_directory().symlink_to(directory / "elsewhere")
    with pytest.raises(PermissionError, match="not a directory of user"):
        await transport.listen(transport.default_bind(), OPTIONS)


def test_a_long_base_directory_is_replaced_by_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for base in ("/" + "y" * 90, "/" + "z" * 90):
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
        assert runtime_directory() == runtime_directory()
        seen.add(runtime_directory())
        transport.parse(transport.default_bind().url)
        transport.parse(transport.default_registry().url)
    assert len(seen) == 2


def test_fresh_names_differ() -> None:
    assert transport.default_bind() != transport.default_bind()


async def test_a_stale_socket_is_replaced(directory: Path) -> None:
    path = directory / "a.sock"
    leave_stale(path)
    with pytest.raises(ConnectionRefusedError):
        await transport.connect(at(path), OPTIONS)
    listener = await transport.listen(at(path), OPTIONS)
    connection = await transport.connect(at(path), OPTIONS)
    await connection.aclose()
    await listener.aclose()
    assert os.listdir(directory) == []


async def test_a_live_socket_is_in_use(directory: Path) -> None:
    path = directory / "a.sock"
    listener = await transport.listen(at(path), OPTIONS)
    with pytest.raises(OSError, match=str(path)) as caught:
        await transport.listen(at(path), OPTIONS)
    assert caught.value.errno == errno.EADDRINUSE
    assert os.listdir(directory) == ["a.sock"]
    await listener.aclose()


async def test_a_full_backlog_is_alive(directory: Path) -> None:
    path = directory / "a.sock"
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as first:
        sock.bind(str(path))
        sock.listen(0)
        first.connect(str(path))
        with pytest.raises(OSError) as caught:
            await transport.listen(at(path), OPTIONS)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(TimeoutError):
            await transport.connect(at(path), TransportOptions(connect_timeout=0.05))
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def make_room() -> None:
                await trio.testing.wait_all_tasks_blocked()
                sock.accept()[0].close()

            connection = await transport.connect(at(path), OPTIONS)
        connection.abort()


async def test_a_file_that_is_no_socket_is_never_removed(directory: Path) -> None:
    path = directory / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="not a socket") as caught:
        await transport.listen(at(path), OPTIONS)
    assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "data"


async def test_closing_removes_the_file_only_while_it_is_ours(directory: Path) -> None:
    path = directory / "a.sock"
    first = await transport.listen(at(path), OPTIONS)
    path.unlink()
    second = await transport.listen(at(path), OPTIONS)
    await first.aclose()
    assert path.exists()
    await second.aclose()
    assert not path.exists()


async def test_closing_when_the_file_is_gone(directory: Path) -> None:
    listener = await transport.listen(at(directory / "a.sock"), OPTIONS)
    (directory / "a.sock").unlink()
    await listener.aclose()


async def test_a_lock_left_behind_is_no_obstacle(directory: Path) -> None:
    (directory / "a.sock.lock").touch()
    listener = await transport.listen(at(directory / "a.sock"), OPTIONS)
    await listener.aclose()


async def test_of_many_binding_over_a_stale_socket_one_wins(directory: Path) -> None:
    path = directory / "a.sock"
    leave_stale(path)
    won: list[Listener] = []
    lost: list[OSError] = []

    async def contend() -> None:
        try:
            won.append(await transport.listen(at(path), TransportOptions()))
        except OSError as exc:
            lost.append(exc)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(contend)
    assert len(won) == 1
    assert {exc.errno for exc in lost} == {errno.EADDRINUSE}
    assert os.listdir(directory) == ["a.sock"]
    await (await transport.connect(at(path), OPTIONS)).aclose()
    await won[0].aclose()


RACER = """
import sys, trio
from tractor_core.seams import Address, TransportOptions
from tractor_uds import transport

async def main():
    address = Address("uds", path=sys.argv[1])
    sys.stdin.readline()
    for _ in range(30):
        try:
            listener = await transport.listen(address, TransportOptions())
        except OSError as exc:
            if exc.errno != 98:
                raise
            continue
        # Whoever holds the address is the only one, and is there.
        connection = await transport.connect(address, TransportOptions())
        assert connection.facts.pid == __import__("os").getpid(), "two processes bound one path"
        connection.abort()
        await listener.aclose()

trio.run(main)
"""


async def test_processes_that_race_for_a_path_never_share_it(directory: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(directory / "a.sock")], stdin=subprocess.PIPE, env=environment
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        racer.stdin.close()
    try:
        while any(racer.poll() is None for racer in racers):
            await trio.sleep(0.01)
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert os.listdir(directory) == []


async def test_the_registry_sweeps_what_killed_actors_left() -> None:
    runtime_directory().mkdir(mode=0o700)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = runtime_directory() / f"{ended.pid}-abcdef.sock"
    mine = runtime_directory() / f"{os.getpid()}-abcdef.sock"
    other = runtime_directory() / "other.sock"
    for path in (dead, mine, other):
        leave_stale(path)
    listener = await transport.listen(transport.default_registry(), OPTIONS)
    left = sorted(os.listdir(runtime_directory()))
    assert left == sorted([mine.name, other.name, "registry.sock"])
    await listener.aclose()


async def _accepted_facts(address: Address) -> tuple[Connection, PeerFacts]:
    facts: list[PeerFacts] = []

    async def handler(connection: Connection) -> None:
        facts.append(connection.facts)

    listener = await transport.listen(address, OPTIONS)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        connection = await transport.connect(address, OPTIONS)
        assert list(await connection.receive()) == []
        await connection.aclose()
        nursery.cancel_scope.cancel()
    await listener.aclose()
    return connection, facts[0]


@pytest.mark.skipif(sys.platform != "linux", reason="credentials and abstract names are Linux's")
@pytest.mark.parametrize("abstract", [False, True])
async def test_the_kernel_names_the_peer(abstract: bool) -> None:
    address = (
        Address("uds", path=f"@tractor-core-facts-{os.getpid()}") if abstract else transport.default_bind()
    )
    expected = PeerFacts(pid=os.getpid(), uid=os.geteuid(), same_host=True)
    connection, facts = await _accepted_facts(address)
    assert facts == connection.facts == expected
    assert transport.exposure(address) == ("host" if abstract else "user")


async def test_an_abstract_name_in_use() -> None:
    address = Address("uds", path=f"@tractor-core-in-use-{os.getpid()}")
    listener = await transport.listen(address, OPTIONS)
    with pytest.raises(OSError, match="@tractor-core-in-use") as caught:
        await transport.listen(address, OPTIONS)
    assert caught.value.errno == errno.EADDRINUSE
    await listener.aclose()
    with pytest.raises(ConnectionRefusedError):
        await transport.connect(address, OPTIONS)


async def test_another_user_is_refused_on_either_side(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(connection: Connection) -> None:
        raise AssertionError("a stranger was admitted")

    address = transport.default_bind()
    listener = await transport.listen(address, OPTIONS)
    stranger = PeerFacts(pid=1, uid=os.geteuid() + 1, same_host=True)
    monkeypatch.setattr(tractor_uds.endpoints, "_peer_facts", lambda sock: stranger)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        for _ in range(5):
            async with await trio.open_unix_socket(address.path) as stream:
                assert await stream.receive_some() == b""
        with pytest.raises(PermissionError, match="belongs to user"):
            await transport.connect(address, OPTIONS)
        nursery.cancel_scope.cancel()
    await listener.aclose()
    refusals = [record for record in caplog.records if "refused process" in record.getMessage()]
    assert 1 <= len(refusals) <= 1 + trio.current_time() - began, "one for each second"


async def test_a_missing_file_is_refused(directory: Path) -> None:
    with pytest.raises(ConnectionRefusedError, match="nobody"):
        await transport.connect(at(directory / "missing.sock"), OPTIONS)
