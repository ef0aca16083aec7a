"""Trio as a guest on asyncio: an actor whose process runs both loops, with tasks linked in pairs.

What belongs here: starting an actor's trio run on top of an asyncio loop, and the channel between one
trio task and one asyncio task that live and die together. It sits on top of the runtime, nothing
imports it, and it alone of the core imports :mod:`asyncio`.
"""
