"""loky: a reusable executor of one process."""

from __future__ import annotations

from loky import get_reusable_executor

from .driver import LARGE, add, by_threads, drive, length, timed


def main() -> None:
    pool = get_reusable_executor(max_workers=1, timeout=3600)
    drive(
        "loky",
        {
            "rpc": lambda count: timed(lambda: pool.submit(add, 1, 2).result(), count),
            "callers": lambda count: by_threads(lambda: pool.submit(add, 1, 2).result(), count),
            "large": lambda count: timed(lambda: pool.submit(length, LARGE).result(), count),
        },
    )


if __name__ == "__main__":
    main()
