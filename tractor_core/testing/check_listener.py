"""Conformance checks for a transport's listening side; see :mod:`.check_transport`."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from tractor_core.errors import TransportClosed
from tractor_core.seams import (
    Address,
    Connection,
    ConnectionHandler,
    Listener,
    Transport,
    TransportOptions,
    parse_address,
)
from tractor_core.trionics import collapse_eg

from .check_transport import CHECK_TIMEOUT, receive_count, send_all

ListenerCheck = Callable[[Transport, Address], Awaitable[None]]


async def check_listener(transport: Transport, make_address: Callable[[], Address] | None = None) -> None:
    """Run every check of ``listen``, ``serve`` and ``connect``.

    ``make_address`` gives a fresh address to bind each time, the transport's own default if None.
    """
    for check in LISTENER_CHECKS:
        with collapse_eg(), trio.fail_after(CHECK_TIMEOUT):
            await check(transport, (make_address or transport.default_bind)())


async def check_addresses(transport: Transport, address: Address) -> None:
    """The bound address can be parsed again, ranked, and dialled by others."""
    async with _serving(transport, address, _echo) as listener:
        bound = listener.address
        _expect(transport.parse(bound.url) == bound, f"{bound.url} does not parse to the bound address")
        _expect(parse_address(bound.url) == bound, f"{bound.url} is not the URL of the bound address")
        _expect(bound.scheme in transport.schemes, f"scheme {bound.scheme!r} is not the transport's")
        _expect(transport.distance(bound) is not None, "a bound address cannot be reached from here")
        exposure = transport.exposure(bound)
        _expect(exposure in ("user", "host", "network"), f"exposure is {exposure!r}")
        connection = await transport.connect(bound, TransportOptions())
        await _expect_echo(connection)
        await connection.aclose()


async def check_refused(transport: Transport, address: Address) -> None:
    """Dialling where nobody listens any more is ConnectionRefusedError."""
    listener = await transport.listen(address, TransportOptions())
    await listener.aclose()
    await listener.aclose()
    try:
        connection = await transport.connect(listener.address, TransportOptions(connect_timeout=2))
    except ConnectionRefusedError:
        return
    connection.abort()
    raise AssertionError("connected to an address that nobody listens on")


async def check_in_use(transport: Transport, address: Address) -> None:
    """Binding twice is EADDRINUSE with the address in its text, and free again after closing."""
    async with _serving(transport, address, _echo) as listener:
        try:
            second = await transport.listen(listener.address, TransportOptions(connect_timeout=1))
        except OSError as exc:
            _expect(exc.errno == errno.EADDRINUSE, f"binding twice raised {exc!r}")
            named = listener.address.path or listener.address.url
            _expect(named in str(exc), f"the error does not name the address: {exc}")
        else:
            await second.aclose()
            raise AssertionError("one address was bound twice")
    async with _serving(transport, listener.address, _echo):
        pass


async def check_handler_failure(transport: Transport, address: Address) -> None:
    """A handler that raises ends its own connection; the others are served on."""

    async def handler(connection: Connection) -> None:
        frames = await connection.receive()
        if frames and bytes(frames[0]) == b"fail":
            raise RuntimeError("raised by a conformance check")
        connection.send_nowait(frames)
        await _echo(connection)

    async with _serving(transport, address, handler) as listener:
        bystander = await transport.connect(listener.address, TransportOptions())
        await _expect_echo(bystander)
        victim = await transport.connect(listener.address, TransportOptions())
        await send_all(victim, [b"fail"])
        _expect(list(await victim.receive()) == [], "the failed handler's connection stayed open")
        await victim.aclose()
        await _expect_echo(bystander)
        await bystander.aclose()


async def check_serve_cancelled(transport: Transport, address: Address) -> None:
    """Cancelling serve() cancels the handlers and closes their connections."""
    cancelled = trio.Event()

    async def handler(connection: Connection) -> None:
        try:
            await _echo(connection)
        except trio.Cancelled:
            cancelled.set()
            raise

    async with _serving(transport, address, handler) as listener:
        connection = await transport.connect(listener.address, TransportOptions())
        await _expect_echo(connection)
    await cancelled.wait()
    _expect(list(await connection.receive()) == [], "the connection outlived serve()")
    await connection.aclose()


async def check_connection_cap(transport: Transport, address: Address) -> None:
    """At the cap the oldest connection that is not established makes room, the newest never."""

    async def handler(connection: Connection) -> None:
        connection.established = bytes((await connection.receive())[0]) == b"proof"
        connection.send_nowait([b"ok"])
        await _echo(connection)

    async def dial(first: bytes) -> Connection:
        connection = await transport.connect(listener.address, TransportOptions())
        await send_all(connection, [first])
        _expect(bytes((await receive_count(connection, 1))[0]) == b"ok", "no answer")
        return connection

    async with _serving(transport, address, handler, TransportOptions(max_connections=2)) as listener:
        silent = await dial(b"nothing")
        proved = await dial(b"proof")
        newest = await dial(b"proof")
        _expect(list(await silent.receive()) == [], "the unproved connection was kept at the cap")
        await _expect_echo(proved)
        await _expect_echo(newest)
        await _expect_refused(transport, listener.address)
        await _expect_echo(proved)
        for connection in (silent, proved, newest):
            await connection.aclose()


async def check_closed_while_serving(transport: Transport, address: Address) -> None:
    """Closing the listener ends serve() with a bare ClosedResourceError once its peers are served."""
    raised: list[BaseException] = []
    listener = await transport.listen(address, TransportOptions())

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await listener.serve(_echo, task_status=task_status)
        except Exception as exc:
            raised.append(exc)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        connection = await transport.connect(listener.address, TransportOptions())
        await _expect_echo(connection)
        await listener.aclose()
        await _expect_echo(connection)
        await connection.aclose()
    _expect([type(exc) for exc in raised] == [trio.ClosedResourceError], f"serve() raised {raised}")


LISTENER_CHECKS: tuple[ListenerCheck, ...] = (
    check_addresses,
    check_refused,
    check_in_use,
    check_handler_failure,
    check_serve_cancelled,
    check_connection_cap,
    check_closed_while_serving,
)


@contextlib.asynccontextmanager
async def _serving(
    transport: Transport,
    address: Address,
    handler: ConnectionHandler,
    options: TransportOptions | None = None,
) -> AsyncIterator[Listener]:
    listener = await transport.listen(address, options or TransportOptions())
    try:
        async with collapse_eg(), trio.open_nursery() as nursery:
            await nursery.start(listener.serve, handler)
            yield listener
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await listener.aclose()


async def _echo(connection: Connection) -> None:
    while frames := await connection.receive():
        await send_all(connection, frames)


async def _expect_echo(connection: Connection) -> None:
    await send_all(connection, [b"hello"])
    _expect(bytes((await receive_count(connection, 1))[0]) == b"hello", "the echo differs")


async def _expect_refused(transport: Transport, address: Address) -> None:
    try:
        connection = await transport.connect(address, TransportOptions())
    except (OSError, TransportClosed):
        return  # a transport that shakes hands before it has a connection
    _expect(list(await connection.receive()) == [], "one more was admitted although all were established")
    await connection.aclose()


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
