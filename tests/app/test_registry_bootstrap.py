"""Who becomes the registrar, who joins it, and what else may be found at its address."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from other_roots import other_root

import tractor_core as tractor
from tractor_core.errors import AuthenticationFailed
from tractor_core.seams import Address, Connection, TransportOptions, parse_address
from tractor_core.testing.mem import MemTransport
from tractor_tcp import TcpTransport

HERE = "mem://registry"
KEY = "a key of this tree alone"


async def whoami() -> str:
    return tractor.current_actor().name


async def names_at(registry: str) -> bool:
    return tractor.current_actor().reg_addrs[0] == parse_address(registry)


@asynccontextmanager
async def something_at(url: str, answer: bytes | None) -> AsyncIterator[None]:
    """A listener that speaks no protocol of ours: it answers with ``answer``, or hangs up."""
    transport = MemTransport()
    listener = await transport.listen(parse_address(url), TransportOptions())

    async def handle(connection: Connection) -> None:
        await connection.receive()
        if answer is not None:
            connection.send_nowait([answer])
            await trio.sleep_forever()

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, handle)
            yield
            nursery.cancel_scope.cancel()
    finally:
        await listener.aclose()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


# -- nobody, somebody ------------------------------------------------------------------------------


async def test_who_finds_nobody_becomes_the_registrar(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_root_actor(registry_addrs=[HERE]) as root:
        assert root.is_registrar
        assert [a.url for a in root.reg_addrs] == [HERE]
        assert [a.url for a in root.accept_addrs] == [HERE]
        assert tractor.get_runtime_vars()["_registry_addrs"] == [HERE]
    assert tractor.current_actor(err_on_no_runtime=False) is None


async def test_who_finds_a_registrar_joins_it_and_both_call_each_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def ask(name: str) -> str:
        async with tractor.find_actor(name, raise_on_none=True) as portal:
            assert portal is not None
            return await portal.run(whoami)

    async with tractor.open_nursery(
        name="first", registry_addrs=[HERE], start_method="inproc", enable_modules=[__name__]
    ) as nursery:
        await nursery.start_actor("worker", enable_modules=[__name__])
        async with other_root(name="second", registry_addrs=[HERE], enable_modules=[__name__]) as second:
            assert not second.actor.is_registrar
            assert second.actor.accept_addrs != second.actor.reg_addrs
            assert await second.run(ask, "worker") == "worker"
            assert await second.run(ask, "first") == "first"
            assert await ask("second") == "second"
        async with tractor.find_actor("second") as gone:
            assert gone is None
        await nursery.cancel()


async def test_the_children_of_who_joined_register_there_too(autojump_clock: trio.testing.MockClock) -> None:
    async def tree() -> str:
        async with tractor.open_nursery() as nursery:
            await nursery.start_actor("far-worker", enable_modules=[__name__])
            found.set()
            await seen.wait()
            await nursery.cancel()
        return "done"

    found, seen = trio.Event(), trio.Event()
    async with tractor.open_root_actor(registry_addrs=[HERE]):
        async with other_root(registry_addrs=[HERE], start_method="inproc") as second:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(second.run, tree)
                await found.wait()
                async with tractor.find_actor("far-worker", raise_on_none=True) as portal:
                    assert portal is not None
                    assert await portal.run(whoami) == "far-worker"
                    assert await portal.run(names_at, HERE)
                seen.set()


async def test_ensure_registry_demands_to_be_it(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_root_actor(registry_addrs=[HERE], ensure_registry=True) as root:
        with pytest.raises(RuntimeError, match=f"root@.* is the registrar at {HERE} already"):
            async with other_root(registry_addrs=[HERE], ensure_registry=True):
                pytest.fail("there are two")
        assert len(root.peers) == 0


async def test_a_second_root_in_the_same_task_tree_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_root_actor(registry_addrs=[HERE]):
        with pytest.raises(RuntimeError, match="already"):
            async with tractor.open_root_actor(registry_addrs=["mem://elsewhere"]):
                pytest.fail("there are two")


@pytest.mark.parametrize("addresses", [[HERE], ["mem://one", "mem://two"]])
async def test_two_that_start_at_once_meet(
    autojump_clock: trio.testing.MockClock, addresses: list[str]
) -> None:
    """Also where each begins with the address that the other names last."""
    roots: list[tractor.Actor] = []
    everybody = trio.Event()

    async def start(addrs: list[str]) -> None:
        async with other_root(registry_addrs=addrs) as other:
            roots.append(other.actor)
            if len(roots) == 4:
                everybody.set()
            await everybody.wait()

    async with trio.open_nursery() as nursery:
        for order in (addresses, addresses[::-1]) * 2:
            nursery.start_soon(start, order)
    assert sum(root.is_registrar for root in roots) == 1


async def test_who_meets_a_registrar_that_is_ending_takes_its_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def end_and_start(old: trio.Event) -> None:
        old.set()
        async with other_root(name="new", registry_addrs=[HERE]) as new:
            assert new.actor.is_registrar or new.actor.peers

    for _ in range(3):
        async with trio.open_nursery() as nursery:
            async with other_root(name="old", registry_addrs=[HERE]) as old:
                nursery.start_soon(end_and_start, old._end)


async def test_a_registrar_that_goes_while_it_is_joined_is_replaced(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tractor_core.app import registry

    async with other_root(registry_addrs=[HERE]) as old:
        opened = registry.Listeners.open
        attempts: list[object] = []

        async def open_late(self: registry.Listeners, addresses: list[Address]) -> None:
            if not attempts:
                await old.close()
            attempts.append(addresses)
            await opened(self, addresses)

        monkeypatch.setattr(registry.Listeners, "open", open_late)
        async with tractor.open_root_actor(registry_addrs=[HERE]) as new:
            assert new.is_registrar
            assert [a.url for a in new.accept_addrs] == [HERE]
        assert len(attempts) == 2


# -- something else --------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None])
async def test_something_foreign_at_a_given_address_is_an_error(
    autojump_clock: trio.testing.MockClock, answer: bytes | None
) -> None:
    async with something_at(HERE, answer):
        with pytest.raises(RuntimeError, match=f"no registrar answers at {HERE}.*another registry address"):
            async with tractor.open_root_actor(registry_addrs=[HERE]):
                pytest.fail("it has become something")


async def test_a_silent_thing_at_a_given_address_is_an_error_in_bounded_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    async with something_at(HERE, b""):
        with pytest.raises(RuntimeError):
            async with tractor.open_root_actor(registry_addrs=[HERE]):
                pass
    assert trio.current_time() - began < 20


async def test_an_actor_that_is_no_registrar_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async with other_root(name="plain", registry_addrs=["mem://elsewhere"], bind_addrs=[HERE]):
        async with other_root(name="joined", registry_addrs=["mem://elsewhere"]) as joined:
            address = joined.actor.accept_addrs[0].url
            with pytest.raises(RuntimeError, match=f"joined@.* at {address} is no registrar"):
                async with other_root(registry_addrs=[address]):
                    pass


async def test_a_registrar_of_another_key_at_a_given_address_is_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with other_root(registry_addrs=[HERE], auth_key=KEY):
        with pytest.raises(RuntimeError, match=f"another key answers at {HERE}") as caught:
            async with other_root(registry_addrs=[HERE]):
                pass
        assert isinstance(caught.value.__cause__, AuthenticationFailed)


@pytest.mark.parametrize("other", ["foreign", "key", "hangs up"])
async def test_something_else_at_the_default_address_leaves_a_private_registry_and_one_warning(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    other: str,
) -> None:
    monkeypatch.setattr(MemTransport, "default_registry", lambda self: parse_address(HERE))

    async def check() -> None:
        caplog.clear()
        async with tractor.open_root_actor(enable_transports=["mem"], start_method="inproc") as root:
            assert root.is_registrar
            assert HERE not in [a.url for a in root.accept_addrs]
            [warning] = [w for w in warnings_in(caplog) if "refused peer" not in w]
            assert HERE in warning and "private registry" in warning
            async with tractor.open_nursery() as nursery:
                await nursery.start_actor("worker")
                async with tractor.find_actor("worker") as portal:
                    assert portal is not None
                await nursery.cancel()

    if other == "key":
        async with other_root(registry_addrs=[HERE], auth_key=KEY) as keyed:
            await keyed.run(trio.lowlevel.checkpoint)
            await check()
    else:
        async with something_at(HERE, None if other == "hangs up" else b"220 smtp.example.org ESMTP\r\n"):
            await check()


async def test_the_default_address_is_joined_where_a_registrar_is_there(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemTransport, "default_registry", lambda self: parse_address(HERE))
    async with tractor.open_root_actor(enable_transports=["mem"]) as first:
        assert [a.url for a in first.accept_addrs] == [HERE]
        async with other_root(enable_transports=["mem"]) as second:
            assert not second.actor.is_registrar


# -- addresses -------------------------------------------------------------------------------------


async def test_the_first_of_several_that_answers_is_joined(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_root_actor(registry_addrs=[HERE]) as first:
        async with other_root(registry_addrs=["mem://nobody", HERE], start_method="inproc") as second:
            assert not second.actor.is_registrar
            # What children inherit leads to the same registrar, whoever comes to the other address.
            assert [a.url for a in second.actor.reg_addrs] == [HERE, "mem://nobody"]
            assert first.peers


async def test_registry_addresses_of_several_transports(tmp_path: Path) -> None:
    addresses = ["tcp://127.0.0.1:0", f"uds://{tmp_path}/r.sock", "mem://r", ("127.0.0.1", 0)]
    async with tractor.open_nursery(registry_addrs=addresses, start_method="inproc") as nursery:
        root = tractor.current_actor()
        assert [a.scheme for a in root.reg_addrs] == ["tcp", "uds", "mem", "tcp"]
        assert all(a.port != 0 for a in root.reg_addrs)
        assert root.accept_addrs == root.reg_addrs
        for address in root.reg_addrs:
            async with other_root(registry_addrs=[address], enable_transports=["mem"]) as other:
                assert not other.actor.is_registrar
                assert [a.scheme for a in other.actor.accept_addrs] == ["mem"]
            async with tractor.get_registry(address) as portal:
                assert [a.name for a in await portal.run_from_ns("self", "find", name="root")] == ["root"]
        await nursery.cancel()


async def test_every_transport_gets_an_address_and_all_are_registered(tmp_path: Path) -> None:
    async with tractor.open_root_actor(
        registry_addrs=["mem://r"],
        enable_transports=["uds", "tcp", "mem"],
        bind_addrs=["tcp://127.0.0.1:0", (str(tmp_path), "own.sock"), "tcp://127.0.0.1:0"],
    ) as root:
        assert sorted(a.scheme for a in root.accept_addrs) == ["mem", "tcp", "tcp", "uds"]
        async with tractor.query_actor("root") as (address, registrar):
            assert address is not None and address.scheme == "mem"
            [entry] = await registrar.run_from_ns("self", "find", name="root")
        assert entry.addresses == [a.url for a in root.accept_addrs]


async def test_the_same_address_twice_is_bound_once(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_root_actor(registry_addrs=[HERE, HERE], bind_addrs=[HERE]) as root:
        assert [a.url for a in root.accept_addrs] == [HERE]


async def test_no_registry_address_at_all_is_a_private_registry(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tractor.open_nursery(
        registry_addrs=[], enable_transports=["mem"], start_method="inproc"
    ) as nursery:
        assert tractor.current_actor().reg_addrs == tractor.current_actor().accept_addrs
        await nursery.start_actor("worker")
        async with tractor.find_actor("worker") as portal:
            assert portal is not None
        await nursery.cancel()


async def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "registry.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    assert path.exists()
    async with tractor.open_root_actor(registry_addrs=[f"uds://{path}"]) as root:
        assert root.is_registrar
    assert not path.exists()


async def test_the_default_registry_of_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACTOR_TRANSPORTS", "uds")
    async with tractor.open_root_actor(enable_transports=["tcp"]) as root:
        [address] = root.accept_addrs
        assert address.path.startswith(os.environ["XDG_RUNTIME_DIR"])
        assert address.path.endswith("registry.sock")


async def test_a_port_in_use_says_by_whom_and_leaves_nothing_bound(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for registry in (["mem://r"], [f"uds://{tmp_path}/r.sock"]):
            with pytest.raises(
                OSError, match=rf"tcp://127.0.0.1:{port} is already in use by process {os.getpid()}"
            ) as e:
                async with tractor.open_root_actor(registry_addrs=registry, bind_addrs=[("127.0.0.1", port)]):
                    pass
            assert e.value.errno == errno.EADDRINUSE
    assert not list(tmp_path.iterdir())


async def test_an_address_that_cannot_be_reached_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(self: TcpTransport, address: Address, options: TransportOptions) -> Connection:
        raise OSError(errno.EHOSTUNREACH, f"cannot connect to {address}: No route to host")

    monkeypatch.setattr(TcpTransport, "connect", unreachable)
    far = "tcp://198.51.100.1:1616"
    with pytest.raises(OSError, match="cannot connect to tcp://198.51.100.1:1616"):
        async with tractor.open_root_actor(registry_addrs=[far]):
            pass
    async with other_root(registry_addrs=[HERE]):
        async with tractor.open_root_actor(registry_addrs=[far, HERE]) as root:
            assert not root.is_registrar


@pytest.mark.parametrize("url", ["tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.0.2.1:0"])
@pytest.mark.parametrize("argument", ["registry_addrs", "bind_addrs"])
async def test_the_network_is_refused_without_a_key_of_ones_own(url: str, argument: str) -> None:
    options = {"registry_addrs": [HERE], argument: [url]}
    with pytest.raises(ValueError, match=r"auth_key=.*TRACTOR_AUTH_KEY_FILE.*tls=") as caught:
        async with tractor.open_root_actor(**options):
            pass
    assert url.split("?")[0] in str(caught.value)


async def test_the_network_is_allowed_with_a_key_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tractor.open_root_actor(registry_addrs=["tcp://0.0.0.0:0"], auth_key=KEY) as root:
        assert root.is_registrar
    key_file = tmp_path / "key"
    key_file.write_text("0123456789abcdef0123456789abcdef\n")
    key_file.chmod(0o600)
    monkeypatch.setenv("TRACTOR_AUTH_KEY_FILE", str(key_file))
    async with tractor.open_root_actor(registry_addrs=["tcp://0.0.0.0:0"]) as root:
        assert root.is_registrar


async def test_others_are_told_the_advertised_address() -> None:
    address = "tcp://127.0.0.1:0?advertise=actors.example.org:4000"
    async with tractor.open_root_actor(registry_addrs=["mem://r"], bind_addrs=[address]):
        async with tractor.get_registry() as registry:
            [entry] = await registry.run_from_ns("self", "find", name="root")
    assert "tcp://actors.example.org:4000" in entry.addresses
