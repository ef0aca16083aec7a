"""What tractor-core costs, next to what it is made of: ``python -m benchmarks``.

Every row is measured in rounds, ours and the floor in turn, in the same run, so that a busy machine
slows both. Absolute figures belong to one machine; the ratios travel.
"""
