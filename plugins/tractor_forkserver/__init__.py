"""The ``forkserver`` spawn backend: a template process imports the runtime, and actors are forked from it."""

from .backend import ForkserverBackend, backend
from .process import ForkedActor

__all__ = ["ForkedActor", "ForkserverBackend", "backend"]
