"""``zmq+tcp://host:port`` and ``zmq+ipc:///path``: frames as ZeroMQ messages, always under CURVE.

Listeners are ROUTERs, diallers are DEALERs, and pyzmq is driven from trio. ``zmq://`` is another name
of ``zmq+tcp://``. Both CURVE key pairs are derived from the tree's key; ``?curve=/directory`` names a
directory of certificates instead. docs/reference/zmq.rst lists what libzmq alone decides.
"""

from .endpoints import ZmqIpcTransport, ZmqTcpTransport

#: What the entry points ``tractor_core.transports`` → ``zmq+tcp`` and ``zmq`` name.
transport = ZmqTcpTransport()
#: What the entry point ``tractor_core.transports`` → ``zmq+ipc`` names.
ipc_transport = ZmqIpcTransport()

__all__ = ["ZmqIpcTransport", "ZmqTcpTransport", "ipc_transport", "transport"]
