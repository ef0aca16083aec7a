"""How long each step of a teardown may take."""

from __future__ import annotations

import msgspec


class Budget(msgspec.Struct, frozen=True):
    """When force is used against one child that acknowledged, in seconds from the start of its teardown.

    ``sigterm_at`` is also what the child is told as its time left: by then it should have gone.
    """

    sigterm_at: float
    sigkill_at: float


class TeardownPolicy(msgspec.Struct, frozen=True):
    """The bounds of the ladder: request, acknowledgement, SIGTERM, SIGKILL. All in seconds.

    * ``ack``: how long a child may take to acknowledge the request; one that does not gets SIGTERM at once.
    * ``graceful``: how long one that did acknowledge may take to unwind, where nobody set a limit from above.
    * ``terminate``: from SIGTERM to SIGKILL.
    * ``stopped``: how long a child may be stopped (SIGSTOP) while its parent runs, before it is taken for
      dead and killed; up to a second more. ``math.inf``: for ever.
    * ``margin``: what an actor keeps of the time it was given, to say its own goodbyes after its
      children are reaped.

    Levels do not add up. An actor that was given ``time_left`` seconds has reaped its own children
    ``margin`` before they are over, so that nothing needs to be cut off in the middle of its own
    teardown; every level lives inside the time of the one above, and a tree of any depth is gone
    ``graceful + terminate`` after its root began.
    """

    ack: float = 0.5
    graceful: float = 3.0
    terminate: float = 1.0
    stopped: float = 3.0
    margin: float = 0.3

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not value >= 0:  # also refuses NaN
                raise ValueError(f"{name} must be a number of seconds >= 0, not {value!r}")

    def budget(self, time_left: float | None) -> Budget:
        """When to use force, for an actor that itself has ``time_left`` seconds (None: no limit, the root).

        With little time the steps shrink and none vanishes: at most half of it is kept as margin, and of what
        remains a child has ``ack`` seconds, or at least half, before SIGTERM.
        """
        if time_left is None:
            return Budget(self.graceful, self.graceful + self.terminate)
        time_left = max(time_left, 0.0)
        sigkill_at = time_left - min(self.margin, time_left / 2)
        sigterm_at = max(sigkill_at - self.terminate, min(self.ack, sigkill_at / 2))
        return Budget(sigterm_at, sigkill_at)
