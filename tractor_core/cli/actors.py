"""``tractor-core status`` and ``tractor-core ps``: asking actors that run."""

from __future__ import annotations

from typing import Any

import trio

from tractor_core.app.client import open_portal
from tractor_core.errors import TractorError
from tractor_core.plugin import PluginManager
from tractor_core.seams import parse_address

from .output import Column

COLUMNS: tuple[Column, ...] = (
    ("NAME", "name"),
    ("PID", "pid"),
    ("CHANNELS", "channels"),
    ("DIALOGS", "dialogs"),
    ("STATE", "state"),
    ("UUID", "uuid"),
    ("ADDRESSES", "addresses"),
)

# Actors asked at the same time: each costs a connection here.
_AT_ONCE = 32


async def status(url: str, timeout: float) -> dict[str, Any]:
    """What the actor at ``url`` says of itself; ``OSError`` or ``TractorError`` where none answers."""
    return dict(await _ask(url, "status", timeout))


async def listing(url: str, timeout: float) -> list[dict[str, Any]]:
    """The actors that the registry of the actor at ``url`` lists, the newest first, each with its status.

    One that does not answer within ``timeout`` seconds has the reason in ``error``.
    """
    first = await status(url, timeout)
    found = await _ask(url, "list", timeout) if first["is_registrar"] else await _ask_registry(first, timeout)
    rows: list[dict[str, Any]] = [{} for _ in found]
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def fill(index: int) -> None:
        async with limiter:
            rows[index] = await _row(found[index], timeout)

    async with trio.open_nursery() as nursery:
        for index in range(len(found)):
            nursery.start_soon(fill, index)
    return rows


async def _ask_registry(member: dict[str, Any], timeout: float) -> Any:
    failure: Exception = ConnectionRefusedError(f"{member['name']} knows no registry")
    for url in _nearest_first(member["registry"]):
        try:
            return await _ask(url, "list", timeout)
        except (OSError, TractorError) as exc:
            failure = exc
    raise failure


async def _row(found: dict[str, Any], timeout: float) -> dict[str, Any]:
    row = {**found, "pid": None, "channels": None, "dialogs": None, "state": "unreachable", "error": ""}
    for url in _nearest_first(found["addresses"]):
        try:
            answer = await _ask(url, "status", timeout)
        except (OSError, TractorError) as exc:
            row["error"] = str(exc)
            continue
        if answer["uuid"] != found["uuid"]:
            row["error"] = f"another actor is at {url}"
            continue
        state = "ending" if answer["cancel_called"] else "running"
        counts = {key: answer[key] for key in ("pid", "channels", "dialogs")}
        return {**row, **counts, "state": state, "error": ""}
    row["error"] = row["error"] or "none of its addresses can be dialled from here"
    return row


async def _ask(url: str, question: str, timeout: float) -> Any:
    try:
        with trio.fail_after(timeout):
            async with open_portal(url, name="tractor-core") as portal:
                return await portal.run_from_ns("self", question)
    except trio.TooSlowError:
        raise TimeoutError(f"no answer from {url} within {timeout:g} s") from None


def _nearest_first(urls: list[str]) -> list[str]:
    plugins = PluginManager.from_environment()
    ranked: list[tuple[int, str]] = []
    for url in urls:
        try:
            transport = plugins.transport(parse_address(url).scheme)
            distance = transport.distance(transport.parse(url))
        except (TractorError, ValueError):
            continue
        if distance is not None:
            ranked.append((distance, url))
    return [url for _, url in sorted(ranked, key=lambda pair: pair[0])]
