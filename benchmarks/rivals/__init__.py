"""The same work done by what users would pick instead. Each module is a program for its own environment."""
