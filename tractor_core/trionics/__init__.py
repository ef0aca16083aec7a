"""Helpers for trio programs that need no actor runtime. Imports trio and the standard library only."""

from .groups import collapse, collapse_eg, is_multi_cancelled, maybe_raise_from_masking_exc

__all__ = [
    "collapse",
    "collapse_eg",
    "is_multi_cancelled",
    "maybe_raise_from_masking_exc",
]
