"""grpc.aio without generated code: bytes there and back, and a stream of them, over 127.0.0.1."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from multiprocessing import get_context
from typing import Any

import grpc

from .driver import LARGE, SMALL, adrive, atimed, by_tasks

PAIR, LENGTH = struct.Struct("<qq"), struct.Struct("<q")
OPTIONS = [("grpc.max_receive_message_length", 8 * 1024 * 1024), ("grpc.enable_http_proxy", 0)]


async def add(request: bytes, _: Any) -> bytes:
    return LENGTH.pack(sum(PAIR.unpack(request)))


async def sink(requests: AsyncIterator[bytes], _: Any) -> bytes:
    count = 0
    async for _value in requests:
        count += 1
    return LENGTH.pack(count)


async def serve_forever(pipe: Any) -> None:
    server = grpc.aio.server(options=OPTIONS)
    handlers = {
        "add": grpc.unary_unary_rpc_method_handler(add),
        "sink": grpc.stream_unary_rpc_method_handler(sink),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", handlers),))
    pipe.send(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()


def serve(pipe: Any) -> None:
    asyncio.run(serve_forever(pipe))


async def run(port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        call, stream = channel.unary_unary("/bench/add"), channel.stream_unary("/bench/sink")

        async def one() -> None:
            await call(PAIR.pack(1, 2))

        async def one_way(count: int, value: bytes) -> float:
            begin = time.perf_counter()
            writer = stream()
            for _ in range(count):
                await writer.write(value)
            await writer.done_writing()
            if LENGTH.unpack(await writer) != (count,):
                raise RuntimeError("values were lost")
            return time.perf_counter() - begin

        await adrive(
            "grpcio",
            {
                "rpc": lambda count: atimed(one, count),
                "callers": lambda count: by_tasks(one, count),
                "stream": lambda count: one_way(count, SMALL),
                "large": lambda count: one_way(count, LARGE),
            },
        )


def main() -> None:
    context = get_context("spawn")
    mine, other = context.Pipe()
    server = context.Process(target=serve, args=(other,), daemon=True)
    server.start()
    asyncio.run(run(mine.recv()))
    server.terminate()


if __name__ == "__main__":
    main()
