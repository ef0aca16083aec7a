"""Booting and wiring: what puts the other rooms together."""
