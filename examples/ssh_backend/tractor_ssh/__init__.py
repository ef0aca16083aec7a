"""The ``ssh`` spawn backend: actors on other hosts, under the same nurseries.

Three processes stand between a parent and its actor::

    parent ── proxy ── ssh client ═══ sshd ── remote.py ── actor

The *proxy* (:mod:`.proxy`), a child of the parent, stands for the actor on this host: it dies of what the
actor died of, passes SIGTERM on, and what kills it cuts the connection. *remote.py* (:mod:`.remote`), whose
source goes through the connection, starts the actor, reports its end, and ends it when the connection is cut.
"""

from .backend import RemoteActor, SSHBackend
from .options import SSHOptions

#: What the entry point ``tractor_core.spawners`` → ``ssh`` names.
backend = SSHBackend()

__all__ = ["RemoteActor", "SSHBackend", "SSHOptions", "backend"]
