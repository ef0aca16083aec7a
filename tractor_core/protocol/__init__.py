"""Sans-IO machines: handshake, dialog, credit, chunking. No I/O, no trio.

Each is fed events and says what to send and whom to wake; :mod:`tractor_core.ipc` and
:mod:`tractor_core.runtime` do the sending and the waking. (Splitting a byte stream into frames is
:mod:`tractor_core.seams.framing`, since only transports need it.)
"""
