"""Help for whoever debugs a tree: a debugger for many processes, crash handlers, task-tree dumps.

What belongs here: everything that serves a person looking at a running or crashing actor. It sits on top
of the runtime, which loads it by its dotted name at boot when it is asked for; nothing imports it. Its
tools come with the ``devx`` extra.
"""
