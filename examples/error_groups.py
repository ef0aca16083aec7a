"""Errors of several tasks, at home and in other actors, told apart with ``except*``."""

from __future__ import annotations

import trio

import tractor_core as tractor
from tractor_core.errors import RemoteActorError


async def fetch(name: str) -> str:
    """Fails in its own way, and says why."""
    try:
        if name.endswith("gone"):
            raise KeyError(name)
        if name.endswith("late"):
            raise TimeoutError(f"{name} did not answer")
    except KeyError as error:
        failure = LookupError(f"nothing is called {name}")
        failure.add_note("ask for it by another name")
        raise failure from error
    return name.upper()


async def fetch_all(names: list[str]) -> list[str]:
    """Several tasks in that actor: what fails comes as an exception group, as trio raises it."""
    found: list[str] = []

    async def one(name: str) -> None:
        found.append(await fetch(name))

    async with trio.open_nursery() as tasks:
        for name in names:
            tasks.start_soon(one, name)
    return sorted(found)


def tell(error: BaseException) -> None:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    print(f"  {type(error).__name__}: {error}{notes}")


async def a_group_from_one_actor(portal: tractor.Portal) -> None:
    """One call, one error here; unwrapped it is the group that was raised there."""
    print("one actor, several errors:")
    try:
        try:
            await portal.run(fetch_all, ["a-late", "b", "c-gone"])
        except RemoteActorError as error:
            raise error.unwrap() from None
    except* LookupError as group:
        for each in group.exceptions:
            tell(each)
            # The member as it came: with its own cause.
            boxed = each.__cause__
            assert isinstance(boxed, RemoteActorError) and isinstance(boxed.__cause__, RemoteActorError)
            print(f"  because of: {boxed.__cause__.src_type.__name__}")
    except* TimeoutError as late:
        for too_late in late.exceptions:
            tell(too_late)


async def a_group_from_several_actors(portals: list[tractor.Portal]) -> None:
    """Several calls at once, of which none shall be cancelled because another failed."""
    print("several actors, an error of each:")
    failures: list[RemoteActorError] = []

    async def call(portal: tractor.Portal, name: str) -> None:
        try:
            await portal.run(fetch, name)
        except RemoteActorError as error:
            failures.append(error)

    try:
        async with trio.open_nursery() as tasks:
            for portal, name in zip(portals, ("gone", "late"), strict=True):
                tasks.start_soon(call, portal, name)
        if failures:
            raise ExceptionGroup("some calls failed", failures)
    except* RemoteActorError as group:
        # What it was over there is told by `src_type`; `split` sorts by it.
        lookups, others = group.split(lambda error: getattr(error, "src_type", None) is LookupError)
        for kind, part in (("look-ups", lookups), ("others", others)):
            for each in () if part is None else part.exceptions:
                assert isinstance(each, RemoteActorError) and each.src_uid is not None
                print(f"  {kind}: {each.src_type_str} in {each.src_uid[0]}: {each.message}")


async def main() -> None:
    async with tractor.open_nursery() as nursery:
        portals = [await nursery.start_actor(name, enable_modules=[__name__]) for name in ("north", "south")]
        await a_group_from_one_actor(portals[0])
        await a_group_from_several_actors(portals)
        await nursery.cancel()


if __name__ == "__main__":
    trio.run(main)
