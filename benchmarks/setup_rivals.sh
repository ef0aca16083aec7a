#!/bin/sh
# An environment of its own for what users would pick instead, so that it is never mixed with ours:
#
#     benchmarks/setup_rivals.sh [DIRECTORY [PYTHON]]
#
# DIRECTORY is benchmarks/.rivals, which `python -m benchmarks` looks for, unless said otherwise.
# Ray and Thespian are left out: they use the machine's network address even when told 127.0.0.1.
set -eu
directory=${1:-$(dirname "$0")/.rivals}
python=${2:-python3}
"$python" -m venv "$directory"
for rival in "xoscar" "distributed" "rpyc" "Pyro5" "grpcio" "loky" "trio-parallel"; do
    # One that cannot be installed here is left out of the table, with a line that says so.
    "$directory/bin/python" -m pip install --quiet "$rival" || echo "not installed: $rival" >&2
done
"$directory/bin/python" -m pip list
