"""The actor itself: dispatcher, Portal, Context, MsgStream, runtime variables.

Imports point down, to :mod:`tractor_core.ipc` and what is below it; supervision, discovery and
booting are above and reach in through :class:`~tractor_core.runtime.actor.Actor`.
"""
