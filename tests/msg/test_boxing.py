"""Exceptions across actors."""

from __future__ import annotations

import builtins
import pathlib
import subprocess
import sys
import types
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tractor_core import errors
from tractor_core.errors import (
    ActorDied,
    AuthenticationFailed,
    ContextCancelled,
    ModuleNotExposed,
    MsgTypeError,
    RemoteActorError,
    StreamOverrun,
)
from tractor_core.msg import Aid, BoxedError, Error
from tractor_core.msg.boxing import FIELD_LIMIT, box, of_runtime, resolve_type, unbox, without_tracebacks
from tractor_core.msg.codec import wire_codec

ORIGIN = ("origin", "0" * 32)
MIDDLE = ("middle", "1" * 32)
TOP = ("top", "2" * 32)


def over_the_wire(boxed: BoxedError) -> BoxedError:
    received = []
    for name in ("msgpack", "json"):
        codec = wire_codec(name)
        message = codec.decode(codec.encode(Error(4, boxed)))
        assert isinstance(message, Error)
        received.append(message.error)
    assert received[0] == received[1]
    return received[0]


def send(error: BaseException, uid: tuple[str, str] = ORIGIN) -> Any:
    return unbox(over_the_wire(box(error, uid)))


def say(error: BaseException) -> Any:
    """What arrives of an error that the runtime of the origin raises itself."""
    dialog = object()
    return unbox(over_the_wire(box(of_runtime(error, dialog), ORIGIN, dialog=dialog)))


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


class Custom(Exception):
    def __init__(self, code: int, detail: dict[str, int]) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class NeedsMore(Exception):
    def __init__(self, a: int, *, b: int) -> None:
        super().__init__(a)


class HostileText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


# -- one hop -------------------------------------------------------------------------------


def test_an_error_arrives_with_its_origin() -> None:
    error = send(raised(ValueError("bad", 5)))
    assert type(error) is RemoteActorError
    assert error.boxed_type is error.src_type is ValueError
    assert error.boxed_type_str == error.src_type_str == "ValueError"
    assert error.src_uid == error.relay_uid == ORIGIN
    assert error.relay_path == (ORIGIN,)
    assert error.message == "('bad', 5)"
    assert not error.is_inception()
    assert "raise error" in error.tb_str
    assert "ValueError: ('bad', 5)" in str(error)


@pytest.mark.parametrize(
    "original",
    [
        ValueError("bad", 5),
        ValueError(),
        KeyError("k"),
        FileNotFoundError(2, "No such file", "x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad byte"),
        trio.BrokenResourceError("gone"),
        Custom(7, {"a": 1}),
        ActorDied("it died"),
    ],
    ids=repr,
)
def test_unwrap_gives_the_original(original: Exception) -> None:
    error = send(raised(original))
    unwrapped = error.unwrap()
    assert type(unwrapped) is type(original)
    assert unwrapped.args == original.args
    assert unwrapped.__cause__ is error


def test_what_cannot_be_rebuilt_is_returned_as_it_is() -> None:
    for original in (NeedsMore(1, b=2), send(ValueError())):
        error = unbox(box(original, ORIGIN))
        if isinstance(original, NeedsMore):
            assert error.boxed_type is NeedsMore  # type: ignore[attr-defined]
            assert error.unwrap() is error  # type: ignore[attr-defined]


def test_only_the_arguments_that_cannot_be_encoded_are_text() -> None:
    lock = trio.Lock()
    unwrapped = send(ValueError("code", 7, lock, 2**70, [1, lock], "\udc80", b"x", HostileText())).unwrap()
    assert unwrapped.args == (
        "code",
        7,
        repr(lock),
        str(2**70),
        repr([1, lock]),
        "\\udc80",
        b"x",
        "<HostileText, whose repr() fails>",
    )
    assert send(ValueError("x", "a" * FIELD_LIMIT, lock)).boxed.args == b""


class NoFile(OSError):
    def __init__(self, number: int, text: str) -> None:
        super().__init__(number, text, "/its/own")


@pytest.mark.parametrize(
    ("original", "files"),
    [
        (FileNotFoundError(2, "No such file", "/etc/x"), ("/etc/x", None)),
        (FileNotFoundError(2, "No such file", pathlib.PurePosixPath("/etc/x")), ("/etc/x", None)),
        (FileNotFoundError(2, "No such file", b"/etc/\xff"), (b"/etc/\xff", None)),
        (OSError(18, "Invalid cross-device link", "/a", None, "/b"), ("/a", "/b")),
        (OSError(5, "Input/output error"), (None, None)),
        (OSError("a text only"), (None, None)),
        (NoFile(2, "No such file"), ("/its/own", None)),
    ],
    ids=repr,
)
def test_an_os_error_keeps_its_files(original: OSError, files: tuple[object, object]) -> None:
    for error in (send(original), send(send(original), MIDDLE)):
        unwrapped = error.unwrap()
        assert type(unwrapped) is type(original)
        assert unwrapped.args == original.args
        assert (unwrapped.errno, unwrapped.strerror) == (original.errno, original.strerror)
        assert (unwrapped.filename, unwrapped.filename2) == files
        assert str(unwrapped) == str(original).replace("PurePosixPath('/etc/x')", "'/etc/x'")


def test_notes_and_causes_travel() -> None:
    original = ValueError("outer")
    original.add_note("first\nnote")
    original.__cause__ = KeyError("inner")
    error = send(original)
    assert error.notes == ("first\nnote",)
    assert error.unwrap().__notes__ == ["first\nnote"]
    assert error.__cause__.boxed_type is KeyError
    assert error.__cause__.src_uid == ORIGIN


def test_traceback_is_optional() -> None:
    assert box(raised(ValueError()), ORIGIN, traceback=False).traceback == ""
    assert "ValueError" in box(raised(ValueError()), ORIGIN).traceback


# -- special kinds -------------------------------------------------------------------------


def test_a_cancellation_keeps_its_canceller() -> None:
    error = say(ContextCancelled("stopped", canceller=TOP))
    assert type(error) is ContextCancelled
    assert error.canceller == TOP
    assert error.boxed_type is ContextCancelled
    assert error.message == "stopped"


def test_a_type_error_keeps_its_place() -> None:
    local = MsgTypeError("no", path="$.x[1]", expected_msg_type=int, bad_msg=["bad"], boxed_type=MsgTypeError)
    error = say(local)
    assert type(error) is MsgTypeError
    assert (error.path, error.expected_msg_type, error.bad_msg) == ("$.x[1]", "int", "['bad']")
    assert error.message == "no"


def test_none_is_a_value_of_the_wrong_type_too() -> None:
    assert say(MsgTypeError("no", bad_msg=None)).bad_msg == "None"
    assert send(send(MsgTypeError("no", bad_msg=None)), MIDDLE).unwrap().bad_msg == "None"
    assert say(MsgTypeError("no")).bad_msg == ""
    assert MsgTypeError("no", bad_msg=None).bad_msg is None and MsgTypeError("no").bad_msg is None


@pytest.mark.parametrize("kind", [StreamOverrun, ModuleNotExposed, AuthenticationFailed])
def test_what_a_runtime_says_is_raised_as_that_class(kind: type[Exception]) -> None:
    error = say(kind("because"))
    assert type(error) is kind
    assert isinstance(error.boxed, BoxedError)
    assert "because" in str(error)


@pytest.mark.parametrize(
    "original",
    [
        ContextCancelled("stopped", canceller=TOP),
        MsgTypeError("no", path="$.x", expected_msg_type=int, bad_msg=[]),
        StreamOverrun("slow"),
        ModuleNotExposed("no"),
        AuthenticationFailed("no"),
    ],
    ids=repr,
)
def test_what_user_code_raises_is_no_word_of_the_runtime(original: Exception) -> None:
    error = send(raised(original))
    assert type(error) is RemoteActorError
    assert error.src_type is error.boxed_type is type(original)
    assert error.relay_path == (ORIGIN,)
    unwrapped = error.unwrap()
    assert type(unwrapped) is type(original) and str(original) in str(unwrapped)
    if isinstance(unwrapped, ContextCancelled):
        assert unwrapped.canceller == TOP
    if isinstance(unwrapped, MsgTypeError):
        assert (unwrapped.path, unwrapped.expected_msg_type, unwrapped.bad_msg) == ("$.x", "int", "[]")


def test_what_the_runtime_says_in_one_dialog_is_an_error_like_others_in_another() -> None:
    error = of_runtime(StreamOverrun("slow"), "the dialog with a leaf")
    assert type(unbox(box(error, ORIGIN, dialog="the dialog with a root"))) is RemoteActorError
    group = raised(ExceptionGroup("several", [error, StreamOverrun("raised by hand")]))
    members = unbox(box(group, ORIGIN, dialog="the dialog with a leaf")).members  # type: ignore[attr-defined]
    assert [type(member) for member in members] == [StreamOverrun, RemoteActorError]


def test_an_unknown_kind_is_a_remote_error() -> None:
    boxed = box(ValueError("x"), ORIGIN)
    boxed.kind = "from the future"
    assert type(unbox(boxed)) is RemoteActorError


# -- relays --------------------------------------------------------------------------------


def test_each_actor_crossed_is_listed_once() -> None:
    at_middle = raised(send(raised(ValueError("bad")), ORIGIN))
    at_top = raised(send(at_middle, MIDDLE))
    assert isinstance(at_top, RemoteActorError)
    assert at_top.relay_path == (ORIGIN, MIDDLE)
    assert (at_top.src_uid, at_top.relay_uid) == (ORIGIN, MIDDLE)
    assert at_top.boxed_type is RemoteActorError
    assert at_top.boxed_type_str == "RemoteActorError"
    assert (at_top.src_type, at_top.src_type_str) == (ValueError, "ValueError")
    assert at_top.is_inception()
    assert at_top.tb_str == at_middle.tb_str  # type: ignore[attr-defined]
    assert at_top.unwrap().args == ("bad",)
    further = send(at_top, TOP)
    assert further.relay_path == (ORIGIN, MIDDLE, TOP)


@pytest.mark.parametrize(
    "original",
    [
        ContextCancelled("stopped", canceller=TOP),
        ModuleNotExposed("no"),
        MsgTypeError("no"),
        StreamOverrun("slow"),
    ],
    ids=repr,
)
def test_a_relayed_refusal_is_no_refusal_of_the_relay(original: Exception) -> None:
    at_top = send(say(original), MIDDLE)
    assert type(at_top) is RemoteActorError
    assert at_top.src_type is type(original)
    assert at_top.relay_path == (ORIGIN, MIDDLE)


def test_a_relayed_cancellation_still_knows_its_canceller() -> None:
    error = send(say(ContextCancelled("stopped", canceller=TOP)), MIDDLE)
    original = error.unwrap()
    assert type(original) is ContextCancelled
    assert (original.message, original.canceller, original.src_uid) == ("stopped", TOP, ORIGIN)
    assert original.__cause__ is error


def test_who_is_known_as_an_identity_too() -> None:
    error = send(send(ValueError("x")), MIDDLE)
    assert (error.src_aid, error.relay_aid) == (Aid(*ORIGIN), Aid(*MIDDLE))
    assert isinstance(error.src_aid, Aid) and error.src_aid.uid == error.src_uid
    assert RemoteActorError("made here").src_aid is None

    cancelled = ContextCancelled("stop", canceller=TOP)
    assert cancelled.canceller_aid is None
    arrived = say(cancelled)
    assert arrived.canceller_aid == Aid(*TOP) and arrived.canceller_aid.uid == arrived.canceller
    relayed = send(arrived, MIDDLE).unwrap()
    assert relayed.canceller_aid == Aid(*TOP) and relayed.src_aid == Aid(*ORIGIN)


def test_last_words_are_shown_once_and_with_the_traceback() -> None:
    error = send(raised(ActorDied("worker died", last_words="Traceback of the worker")))
    assert error.message == "worker died"
    assert error.tb_str.count("Traceback of the worker") == 1
    assert "Traceback of the worker" in str(error)
    bare = unbox(without_tracebacks(box(error, MIDDLE)))
    assert "Traceback of the worker" not in str(bare) + repr(bare.boxed)


def test_a_relayed_type_error_still_knows_its_place() -> None:
    local = MsgTypeError("no", path="$.x[1]", expected_msg_type=int, bad_msg=["bad"], boxed_type=MsgTypeError)
    original = send(say(local), MIDDLE).unwrap()
    assert type(original) is MsgTypeError
    assert (original.path, original.expected_msg_type, original.bad_msg) == ("$.x[1]", "int", "['bad']")


def test_a_relay_may_add_notes() -> None:
    original = ValueError("bad")
    original.add_note("at the origin")
    relayed = send(original, ORIGIN)
    relayed.add_note("in the middle")
    assert send(relayed, MIDDLE).notes == ("at the origin", "in the middle")


def test_an_error_raised_from_a_relayed_one_is_new() -> None:
    new = RuntimeError("gave up")
    new.__cause__ = send(ValueError("bad"), ORIGIN)
    error = send(new, MIDDLE)
    assert error.relay_path == (MIDDLE,)
    assert error.boxed_type is RuntimeError
    assert error.__cause__.relay_path == (ORIGIN, MIDDLE)
    assert error.__cause__.src_type is ValueError


def test_peers_that_leave_out_the_path() -> None:
    error = unbox(BoxedError("builtins:ValueError", "x", "builtins:ValueError"), MIDDLE)
    assert isinstance(error, RemoteActorError)
    assert error.src_uid == MIDDLE


# -- groups --------------------------------------------------------------------------------


def test_groups_arrive_with_their_members() -> None:
    remote = send(KeyError("far"), TOP)
    group = ExceptionGroup("several", [ValueError("a"), ExceptionGroup("inner", [OSError(2, "b")]), remote])
    error = send(raised(group))
    assert type(error) is RemoteActorError
    assert error.boxed_type is ExceptionGroup
    assert [member.boxed_type for member in error.members] == [ValueError, ExceptionGroup, RemoteActorError]
    assert error.members[2].relay_path == (TOP, ORIGIN)
    unwrapped = error.unwrap()
    assert type(unwrapped) is ExceptionGroup
    assert unwrapped.message == "several"
    assert [type(member) for member in unwrapped.exceptions] == [ValueError, ExceptionGroup, KeyError]
    assert unwrapped.exceptions[1].exceptions[0].args == (2, "b")


def test_a_relayed_group_is_still_a_group_at_its_origin() -> None:
    error = send(send(ExceptionGroup("several", [ValueError("a")]), ORIGIN), MIDDLE)
    assert error.src_type is ExceptionGroup
    assert [type(member) for member in error.unwrap().exceptions] == [ValueError]


def test_groups_with_what_must_not_be_built() -> None:
    error = send(BaseExceptionGroup("ended", [KeyboardInterrupt(), ValueError("a")]))
    assert error.boxed_type is BaseExceptionGroup
    assert [type(member) for member in error.unwrap().exceptions] == [RemoteActorError, ValueError]


def test_huge_groups_and_endless_causes_are_cut() -> None:
    group = ExceptionGroup("many", [ExceptionGroup("few", [ValueError(i)] * 9) for i in range(2000)])
    boxed = over_the_wire(box(group, ORIGIN))
    assert len(boxed.members) < 300
    assert "members are left out" in boxed.notes[0]
    circular = ValueError("circular")
    circular.__cause__ = circular
    assert len(wire_codec().encode(Error(1, box(circular, ORIGIN)))) < 2 << 20
    chain: BaseException = ValueError("last")
    for number in range(5000):
        outer = ValueError(number)
        outer.__cause__ = chain
        chain = outer
    assert len(wire_codec().encode(Error(1, box(chain, ORIGIN)))) < 4 << 20


# -- hostile exceptions --------------------------------------------------------------------


def test_boxing_survives_whatever_the_exception_does() -> None:
    class HostileArgs(Exception):
        args = property(lambda self: 1 / 0)  # type: ignore[assignment]

    class HostileNotes(Exception):
        __notes__ = property(lambda self: 1 / 0)  # type: ignore[assignment]

    strange = ValueError("x")
    strange.__notes__ = 5  # type: ignore[assignment]
    mixed = ValueError("x")
    mixed.__notes__ = ["good", 5, "\udc80"]  # type: ignore[list-item]
    for error in (HostileText(), HostileArgs("x"), HostileNotes("x"), strange, mixed, ValueError("\udc80")):
        arrived = send(raised(error))
        assert type(arrived) is RemoteActorError
        assert type(error).__name__ in arrived.boxed_type_str
        assert arrived.src_uid == ORIGIN
    assert send(mixed).notes == ("good", "\\udc80")
    assert "whose str() fails" in send(HostileText()).message


def test_long_texts_are_cut_in_the_middle() -> None:
    boxed = box(ValueError("a" * 1_000_000 + "end"), ORIGIN)
    assert len(boxed.message) <= FIELD_LIMIT
    assert boxed.message.startswith("aaa")
    assert boxed.message.endswith("aend")
    assert boxed.args == b""


def test_a_recursion_error_can_be_boxed() -> None:
    def forever() -> None:
        forever()

    try:
        forever()
    except RecursionError as error:
        assert send(error).boxed_type is RecursionError


# -- hostile descriptions ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "subprocess:Popen",
        "builtins:SystemExit",
        "builtins:KeyboardInterrupt",
        "builtins:GeneratorExit",
        "builtins:exec",
        "builtins:int",
        "builtins:__import__",
        "os:error",  # another name for OSError
        "subprocess:errors.Error",
        "not_imported_anywhere:Error",
        "trio.testing._raises_group:",
        ":ValueError",
        "ValueError",
        "",
        "a:b:c",
        "builtins:ValueError.__base__",
        "__main__:NoSuchError",
    ],
)
def test_names_that_resolve_to_nothing(name: str) -> None:
    assert resolve_type(name) is None
    boxed = BoxedError(name, "text", name, args=msgspec.msgpack.encode([["touch", "/nonexistent/x"]]))
    error = unbox(boxed, ORIGIN)
    assert isinstance(error, RemoteActorError)
    assert error.boxed_type is RemoteActorError
    assert error.boxed_type_str == (name.partition(":")[2] or name or "RemoteActorError")
    assert error.unwrap() is error


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("builtins:ValueError", ValueError),
        ("builtins:BaseExceptionGroup", BaseExceptionGroup),
        ("subprocess:CalledProcessError", subprocess.CalledProcessError),
        ("trio:BrokenResourceError", trio.BrokenResourceError),
        ("tractor_core.errors:ActorDied", ActorDied),
        (f"{__name__}:Custom", Custom),
    ],
)
def test_names_that_resolve(name: str, kind: type[BaseException]) -> None:
    assert resolve_type(name) is kind


def test_every_builtin_exception_that_may_be_resolves() -> None:
    never = (SystemExit, KeyboardInterrupt, GeneratorExit)
    for name, kind in vars(builtins).items():
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__name__ == name:
            assert resolve_type(f"builtins:{name}") is (None if kind in never else kind)


def test_resolving_imports_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"{name} was fetched")

    class Proxy:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"{name} was fetched")

    monkeypatch.setitem(sys.modules, "lazy", Lazy("lazy"))
    monkeypatch.setitem(sys.modules, "proxy", Proxy())
    holder = types.ModuleType("holder")
    vars(holder)["Error"] = Proxy()
    monkeypatch.setitem(sys.modules, "holder", holder)
    before = set(sys.modules)
    for name in ("lazy:Error", "proxy:Error", "holder:Error", "this:Error", "antigravity:Error"):
        assert resolve_type(name) is None
    assert set(sys.modules) == before


@pytest.mark.parametrize("loaded_as", ["__main__", "__mp_main__"])
def test_exceptions_of_the_script_resolve_under_either_name(
    loaded_as: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = types.ModuleType(loaded_as)
    exec("class Broken(Exception): pass", vars(script))
    monkeypatch.setitem(sys.modules, "__mp_main__", types.ModuleType("__mp_main__"))
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    monkeypatch.setitem(sys.modules, loaded_as, script)
    kind = vars(script)["Broken"]
    boxed = box(kind("x"), ORIGIN)
    assert boxed.type_name == "__main__:Broken"
    assert unbox(boxed).boxed_type is kind  # type: ignore[attr-defined]


def test_deep_descriptions_are_cut() -> None:
    boxed = BoxedError("builtins:ValueError", "x", "builtins:ValueError")
    for _ in range(300):
        boxed = BoxedError("builtins:ValueError", "x", "builtins:ValueError", cause=boxed, members=[boxed])
        boxed.members = []
    error: BaseException | None = unbox(boxed)
    depth = 0
    while error is not None:
        error, depth = error.__cause__, depth + 1
    assert depth < 50


names = st.text(max_size=20) | st.sampled_from(["builtins:ValueError", "builtins:ExceptionGroup", "a:B"])
descriptions = st.recursive(
    st.builds(BoxedError, names, st.text(), names, args=st.binary(max_size=20), kind=st.text(max_size=9)),
    lambda inner: st.builds(
        BoxedError,
        names,
        st.text(),
        names,
        members=st.lists(inner, max_size=3),
        cause=st.none() | inner,
        kind=st.sampled_from(["", "cancelled", "msgtype", "overrun", "notexposed", "auth"]),
        relay_path=st.lists(st.tuples(st.text(), st.text()), max_size=3),
    ),
    max_leaves=5,
)


@given(descriptions)
def test_any_description_can_be_unboxed_shown_unwrapped_and_relayed(boxed: BoxedError) -> None:
    error = unbox(boxed, ORIGIN)
    assert isinstance(error, errors.TractorError)
    str(error)
    if isinstance(error, RemoteActorError):
        assert isinstance(error.unwrap(), BaseException)
    assert box(error, MIDDLE).relay_path[-1] == MIDDLE
