"""What happens in one tree of a campaign: drawn from a seed, so that it can be printed and had again.

Nothing here runs anything. The same seed and index give the same plan on every machine; what a plan cannot
fix is the order in which processes get to do their part.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

SCHEMES: Final = ("tcp", "uds", "zmq+tcp", "zmq+ipc", "ws", "tls", "wss")
BACKENDS: Final = ("subprocess", "forkserver", "multiprocessing")

WORKS: Final = (
    "calls",
    "failing_calls",
    "given_up_calls",
    "context",
    "left_context",
    "two_way_stream",
    "one_way_stream",
    "large_values",
    "short_lived_child",
    "run_once_child",
)

#: What is done to a tree from outside. Those that a healthy tree must take without losing anybody are
#: :data:`HARMLESS`; the others end at least one actor, or may.
FAULTS: Final = ("kill", "terminate", "stop", "cut", "inject", "template", "delay", "noise", "descriptors")
HARMLESS: Final = frozenset({"delay", "noise", "descriptors"})

#: How many actors a tree has at most, the root included, and how many levels.
MOST_ACTORS: Final = 12
MOST_LEVELS: Final = 3

Ending = Literal["leave", "terminate", "kill"]


class Work(msgspec.Struct, frozen=True):
    """One thing that an actor, or a visiting client, does with another actor."""

    kind: str
    target: str
    size: int


class ActorPlan(msgspec.Struct, frozen=True):
    """An actor and all below it. ``isolated``: its children do not share a nursery, nor each other's fate."""

    name: str
    scheme: str
    backend: str
    isolated: bool
    works: tuple[Work, ...] = ()
    children: tuple[ActorPlan, ...] = ()

    def everyone(self) -> Iterator[ActorPlan]:
        """This one and its descendants."""
        yield self
        for child in self.children:
            yield from child.everyone()

    def schemes(self) -> list[str]:
        """Where it has to listen: as its parent reaches it, and as its children reach it."""
        return list(dict.fromkeys([self.scheme, *(child.scheme for child in self.children)]))


class Visit(msgspec.Struct, frozen=True):
    """A program that joins as a client once the tree has done so many steps."""

    name: str
    step: int
    target: str
    works: tuple[Work, ...]


class Fault(msgspec.Struct, frozen=True):
    """What befalls ``victim`` once the tree has done so many steps, or (``late``) while it is ending.

    ``amount`` is in seconds for what lasts, and picks among several connections or kinds of noise.
    """

    kind: str
    victim: str
    step: int
    amount: float
    late: bool = False

    def __str__(self) -> str:
        when = "while the tree ends" if self.late else f"at step {self.step}"
        return f"{self.kind} {self.victim} {when} ({self.amount:.3f})"


class Plan(msgspec.Struct, frozen=True):
    """One tree, what it does, and what befalls it."""

    seed: str
    index: int
    explicit_key: bool
    root: ActorPlan
    visits: tuple[Visit, ...]
    faults: tuple[Fault, ...]
    ending: Ending

    def describe(self) -> str:
        """Several lines for people."""
        lines = [
            f"tree {self.index} of seed {self.seed}: registry over {self.root.scheme}, ends by {self.ending}"
        ]
        lines += _branch(self.root, 1)
        lines += [f"  visit {visit.name} to {visit.target} at step {visit.step}" for visit in self.visits]
        lines += [f"  fault: {fault}" for fault in self.faults]
        return "\n".join(lines)


def _branch(actor: ActorPlan, depth: int) -> Iterator[str]:
    works = ", ".join(f"{work.kind}({work.target}, {work.size})" for work in actor.works)
    together = "" if actor.isolated or not actor.children else ", one-cancels-all"
    yield f"{'  ' * depth}{actor.name} [{actor.scheme}, {actor.backend}{together}] {works}"
    for child in actor.children:
        yield from _branch(child, depth + 1)


def draw(seed: str, index: int) -> Plan:
    """The plan of one tree of a campaign."""
    dice = random.Random(f"{seed}/{index}")
    shape = _draw_shape(dice)
    names = list(shape)
    root = _draw_actor(dice, "root", shape, names)
    # An actor comes up, begins to keep its children, stands, and begins and ends each of its works.
    steps = sum(3 + 2 * len(actor.works) for actor in root.everyone())
    visits = tuple(
        Visit(
            f"visitor-{number}", dice.randrange(steps), target := dice.choice(names), _works(dice, [target])
        )
        for number in range(dice.choice((0, 1, 1, 2)))
    )
    victims = [*names, *(visit.name for visit in visits)]
    forking = [
        actor.name
        for actor in root.everyone()
        if any(child.backend == "forkserver" for child in actor.children)
    ]
    faults = tuple(
        _draw_fault(dice, victims, forking, steps) for _ in range(dice.choice((0, 1, 1, 2, 2, 3, 4)))
    )
    ending: Ending = dice.choice(("leave", "leave", "terminate", "kill"))
    return Plan(seed, index, dice.random() < 0.5, root, visits, faults, ending)


def _draw_shape(dice: random.Random) -> dict[str, list[str]]:
    """The names of every actor's children, by its own name."""
    shape: dict[str, list[str]] = {"root": []}
    levels = {"root": 0}
    for number in range(1, dice.randint(2, MOST_ACTORS)):
        parent = dice.choice([name for name, level in levels.items() if level < MOST_LEVELS])
        name = f"actor-{number}"
        shape[parent].append(name)
        shape[name] = []
        levels[name] = levels[parent] + 1
    return shape


def _draw_actor(dice: random.Random, name: str, shape: dict[str, list[str]], names: list[str]) -> ActorPlan:
    return ActorPlan(
        name,
        dice.choice(SCHEMES),
        dice.choice(BACKENDS),
        dice.random() < 0.6,
        _works(dice, [other for other in names if other != name]),
        tuple(_draw_actor(dice, child, shape, names) for child in shape[name]),
    )


def _works(dice: random.Random, targets: list[str]) -> tuple[Work, ...]:
    count = dice.choice((0, 1, 2, 3))
    return tuple(Work(dice.choice(WORKS), dice.choice(targets), dice.randint(1, 100)) for _ in range(count))


def _draw_fault(dice: random.Random, victims: list[str], forking: list[str], steps: int) -> Fault:
    kind = dice.choice(FAULTS if forking else [kind for kind in FAULTS if kind != "template"])
    return Fault(
        kind,
        dice.choice(forking if kind == "template" else victims),
        dice.randrange(steps),
        round(dice.uniform(0.05, 0.8), 3),
        dice.random() < 0.15,
    )
