"""Booting and wiring: ``open_root_actor``, the boot of a child, daemons, clusters, light clients."""
