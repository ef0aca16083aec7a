"""The ``multiprocessing`` spawn backend: actors are processes of the standard library's spawn context."""

from .backend import MultiprocessingBackend, backend
from .process import MultiprocessingActor

__all__ = ["MultiprocessingActor", "MultiprocessingBackend", "backend"]
