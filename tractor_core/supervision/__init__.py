"""Supervision: the nursery of actors, the teardown ladder, lifelines."""
