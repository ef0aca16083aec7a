"""Getting a template ready to be forked: having run what actors will run, and having that lie together.

A forked process copies each page of memory that it writes to, and with every call the interpreter writes to
the object that holds the function's code. Some 650 functions run until an actor is ready: 300 kB of code, but
spread over 2 MB among all that was imported. Where code runs for the first time, the interpreter writes to
more besides: it specializes the code, numbers types and functions, and fills caches.

Of an actor's private memory this saves a tenth, and of the processor time of its start too; it takes the
template 30 ms (two quiet cores).
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterable
from types import CodeType, FrameType, FunctionType
from typing import Final

#: Code that was replaced. What freed it would leave holes, into which every process then puts what it makes:
#: 1 MB more of private memory, and not less.
_replaced: Final[list[CodeType]] = []


def practise(rehearsal: Callable[[], object]) -> None:
    """Run ``rehearsal`` to see what it calls, put that together, and run it once more where it now lies.

    Raises what it raises; leaves all that was there before to the collector's permanent generation. Does
    nothing in a process that is being traced, profiled or monitored: such tools know code by its identity.
    """
    if _is_watched():
        return
    functions = _functions()
    gc.freeze()
    called = _called_by(rehearsal)
    functions += _functions()  # of what it imported
    gc.collect()
    move_together(functions, called)
    rehearsal()


def _is_watched() -> bool:
    if sys.version_info >= (3, 12) and any(map(sys.monitoring.get_tool, range(6))):
        return True
    return sys.gettrace() is not None or sys.getprofile() is not None


def _functions() -> list[FunctionType]:
    """All that the collector knows, outside its permanent generation."""
    return [each for each in gc.get_objects() if type(each) is FunctionType]


def _called_by(function: Callable[[], object]) -> list[CodeType]:
    """The code that runs in this thread while it is called, in the order of the first calls."""
    called: dict[int, CodeType] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            called[id(frame.f_code)] = frame.f_code

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return list(called.values())


def move_together(functions: Iterable[FunctionType], codes: Iterable[CodeType]) -> None:
    """Have those of ``functions`` whose code is among ``codes`` run copies that are made one after the other.

    Code that somebody holds a weak reference to stays where it is: trio knows by that which functions it
    must protect from ``KeyboardInterrupt``.
    """
    movable = {id(code): code for code in codes if not weakref.getweakrefcount(code)}
    copies: dict[int, CodeType] = {}

    def copy(code: CodeType) -> CodeType:
        if id(code) not in movable:
            return code
        if id(code) not in copies:
            # That of functions which this one makes when it runs is among its constants.
            constants = tuple(copy(each) if type(each) is CodeType else each for each in code.co_consts)
            copies[id(code)] = code.replace(co_consts=constants)
        return copies[id(code)]

    for code in movable.values():
        copy(code)
    for function in functions:
        function.__code__ = copies.get(id(function.__code__), function.__code__)
    _replaced.extend(movable.values())
