"""The ``subprocess`` spawn backend: every actor is a fresh interpreter."""

from .backend import SubprocessBackend, backend
from .process import SubprocessActor

__all__ = ["SubprocessActor", "SubprocessBackend", "backend"]
