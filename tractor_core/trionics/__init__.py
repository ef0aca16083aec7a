"""Helpers for trio programs that need no actor runtime. Imports trio and the standard library only."""

from .broadcast import BroadcastReceiver, Lagged, broadcast_receiver
from .cache import maybe_open_context
from .groups import collapse, collapse_eg, is_multi_cancelled, maybe_raise_from_masking_exc
from .managers import gather_contexts, maybe_open_nursery, start_or_cancel
from .processes import supervise_run_process

__all__ = [
    "BroadcastReceiver",
    "Lagged",
    "broadcast_receiver",
    "collapse",
    "collapse_eg",
    "gather_contexts",
    "is_multi_cancelled",
    "maybe_open_context",
    "maybe_open_nursery",
    "maybe_raise_from_masking_exc",
    "start_or_cancel",
    "supervise_run_process",
]
