"""Contexts and generators with parameters that are filled by position; workers import them from here."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator

import tractor_core as tractor


@tractor.context
async def context_first(ctx: tractor.Context, first: int, *rest: int) -> list[int]:
    await ctx.started()
    return [first, *rest]


@tractor.context
async def context_between(first: int, ctx: tractor.Context, second: int = 0, *rest: int) -> list[int]:
    await ctx.started()
    return [first, second, *rest]


@tractor.context
async def context_last(first: int, *rest: int, ctx: tractor.Context) -> list[int]:
    await ctx.started()
    return [first, *rest]


@tractor.context
async def context_by_place_only(ctx: tractor.Context, /, first: int) -> list[int]:
    await ctx.started()
    return [first]


@tractor.context
async def others_by_place_only(first: int, second: int = 0, /, *, ctx: tractor.Context) -> list[int]:
    await ctx.started()
    return [first, second]


async def numbers(first: int, *rest: int) -> AsyncIterator[int]:
    for number in (first, *rest):
        yield number


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)

    @tractor.stream
    async def marked_numbers(stream: tractor.MsgStream[int, int], first: int, *rest: int) -> None:
        for number in (first, *rest):
            await stream.send(number)
