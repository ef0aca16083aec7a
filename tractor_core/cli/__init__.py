"""The command line: one small module for each command, over the public API only.

What belongs here: turning arguments into calls of the public API and results into text. It sits on top of
everything and nothing imports it. Its tools come with the ``cli`` extra.
"""
