"""The published surface: every name of it is there, and in the reference; what is not there yet says so."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

import tractor_core as tractor
from tractor_core import errors, log, msg, trionics
from tractor_core.app.options import RootOptions, make_root
from tractor_core.errors import NoRuntime, PluginError
from tractor_core.msg.types import Aid

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"

#: What users of each class may rely on, methods and attributes.
MEMBERS: dict[type, str] = {
    tractor.ActorNursery: "start_actor run_in_actor cancel cancel_called cancelled_caught cancelled",
    tractor.Portal: "run run_from_ns open_context open_stream_from wait_for_result result cancel_actor"
    " cancel_timeout chan channel aclose",
    tractor.Actor: "aid name uid pid is_registrar is_root is_infected_aio accept_addrs reg_addrs"
    " lifetime_stack cancel_soon cancel_called is_arbiter",
    tractor.Context: "started open_stream cancel wait_for_result result cid chan side peer_side portal"
    " cancel_called cancel_acked cancelled_caught canceller maybe_error outcome has_outcome maybe_raise"
    " send_yield",
    tractor.MsgStream: "send receive receive_nowait aclose subscribe ctx chan closed __aiter__ __anext__",
    tractor.Channel: "from_addr send recv aclose connected apply_codec aid laddr raddr closed uid __aenter__",
    errors.RemoteActorError: "boxed_type boxed_type_str src_type src_uid relay_uid relay_path message tb_str"
    " notes is_inception unwrap pformat ipc_msg sender src_aid relay_aid",
    errors.ContextCancelled: "canceller canceller_aid",
    errors.MsgTypeError: "bad_msg expected_msg_type path",
    errors.TransportClosed: "src_exc",
    errors.StreamOverrun: "sender",
    msg.Aid: "name uuid pid uid",
    msg.MsgCodec: "encode decode msg_spec pld_spec",
    msg.MsgDec: "decode spec",
    msg.NamespacePath: "from_ref load_ref to_tuple",
    msg.Struct: "to_dict copy fields_diff typecast pformat",
    trionics.BroadcastReceiver: "receive receive_nowait subscribe aclose raise_on_lag",
    log.ActorLogger: "transport io runtime devx cancel pdb debug info warning error exception",
}

#: Parameters by function, in the order of those that may be positional.
PARAMETERS: dict[Any, str] = {
    tractor.open_root_actor: "name registry_addrs bind_addrs enable_transports start_method enable_modules"
    " loglevel ensure_registry debug_mode maybe_enable_greenback enable_stack_on_sig debug_filter hide_tb"
    " auth_key tls limits",
    tractor.run_daemon: "enable_modules name registry_addrs start_method debug_mode",
    tractor.open_portal: "address auth_key token tls name",
    tractor.open_actor_cluster: "modules count names hard_kill",
    tractor.current_actor: "err_on_no_runtime",
    tractor.current_ipc_ctx: "error_on_not_set",
    tractor.get_runtime_vars: "as_dict clear_values",
    tractor.find_actor: "name registry_addrs only_first raise_on_none enable_transports",
    tractor.wait_for_actor: "name registry_addr",
    tractor.query_actor: "name regaddr",
    tractor.get_registry: "addr",
    tractor.watch_actors: "prefix",
    tractor.context: "fn pld_spec enc_hook dec_hook",
    tractor.ActorNursery.start_actor: "name enable_modules bind_addrs enable_transports loglevel"
    " debug_mode infect_asyncio inherit_parent_main start_method spawn_options proc_kwargs",
    tractor.ActorNursery.run_in_actor: "fn name enable_modules bind_addrs enable_transports loglevel"
    " debug_mode infect_asyncio inherit_parent_main start_method spawn_options proc_kwargs fn_kwargs",
    tractor.ActorNursery.cancel: "hard_kill",
    tractor.Portal.run: "fn args kwargs",
    tractor.Portal.run_from_ns: "namespace name kwargs",
    tractor.Portal.open_context: "fn allow_overruns kwargs",
    tractor.Portal.open_stream_from: "kwargs",
    tractor.Portal.cancel_actor: "timeout raise_on_timeout",
    tractor.Context.started: "value validate_pld_spec strict_pld_parity",
    tractor.Context.open_stream: "allow_overruns msg_buffer_size overflow",
    tractor.Context.cancel: "timeout",
    tractor.MsgStream.send: "value",
    trionics.gather_contexts: "mngrs tn",
    trionics.maybe_open_context: "acm_func kwargs key tn",
    trionics.maybe_open_nursery: "nursery shield",
    trionics.broadcast_receiver: "recv_chan max_buffer_size",
    log.get_logger: "name",
    log.get_console_log: "level",
}


@pytest.mark.parametrize("kind", MEMBERS, ids=lambda kind: kind.__name__)
def test_every_promised_member_is_there(kind: type) -> None:
    own = inspect.getsource(kind) + "".join(inspect.getsource(base) for base in bases(kind))
    missing = [
        name
        for name in MEMBERS[kind].split()
        # What __init__ sets is no attribute of the class.
        if not hasattr(kind, name) and not re.search(rf"self\.{name}\b.* = ", own)
    ]
    assert missing == []


def bases(kind: type) -> list[type]:
    return [base for base in kind.__mro__[1:] if base.__module__.startswith("tractor_core.")]


@pytest.mark.parametrize("function", PARAMETERS, ids=lambda function: function.__qualname__)
def test_every_promised_parameter_is_there(function: Any) -> None:
    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    promised = PARAMETERS[function].split()
    assert [name for name in promised if name not in parameters] == []
    positional = [name for name in parameters if name in promised]
    assert positional == promised or function is tractor.open_root_actor


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.rst"))
    text += (REFERENCE.parent / "how-to" / "logging.rst").read_text(encoding="utf-8")
    described = set(re.findall(r"\.\. (?:auto|py:)\w+:: tractor_core\.([\w.]+)", text))
    assert {"errors", "trionics", "log", "seams"} <= described  # whole rooms
    whole = set(tractor.errors.__dict__) | {"Address", "TLSConfig"}
    facade = {name for name in tractor.__all__ if name not in described and name not in whole}
    assert facade == set()
    of_msg = {name for name in msg.__all__ if f"msg.{name}" not in described and name not in text}
    assert of_msg == set()


@pytest.mark.parametrize(
    "option",
    [
        {"debug_mode": True},
        {"maybe_enable_greenback": True},
        {"debug_filter": lambda error: True},
        {"enable_stack_on_sig": True},
    ],
    ids=lambda option: next(iter(option)),
)
async def test_what_a_root_cannot_do_yet_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match="not part of this version"):
        async with tractor.open_root_actor(registry_addrs=["mem://refused"], **option):
            pass
    assert tractor.current_actor(err_on_no_runtime=False) is None


def test_what_the_environment_cannot_ask_for_yet_is_refused() -> None:
    with pytest.raises(PluginError, match="TRACTOR_ENABLE_STACKSCOPE is not part"):
        make_root(RootOptions(auth_key=b"0123456789abcdef"), {"TRACTOR_ENABLE_STACKSCOPE": "1"})


@pytest.mark.parametrize("option", ["debug_mode", "infect_asyncio"])
async def test_what_a_child_cannot_do_yet_is_refused(option: str, autojump_clock: MockClock) -> None:
    with pytest.raises(PluginError, match=f"{option}=True is not part of this version"):
        async with tractor.open_nursery(registry_addrs=["mem://refused"], start_method="inproc") as nursery:
            await nursery.start_actor("child", **{option: True})  # type: ignore[arg-type]


async def report() -> tuple[bool, bool, bool, str]:
    actor = tractor.current_actor()
    return tractor.is_root_process(), tractor.debug_mode(), actor.is_infected_aio(), actor.name


async def test_where_am_i(autojump_clock: MockClock) -> None:
    assert not tractor.is_root_process() and not tractor.debug_mode()
    with pytest.raises(NoRuntime):
        tractor.get_runtime_vars()
    async with tractor.open_nursery(registry_addrs=["mem://where"], start_method="inproc") as nursery:
        assert await report() == (True, False, False, "root")
        portal = await nursery.start_actor("child", enable_modules=[__name__])
        assert await portal.run(report) == (False, False, False, "child")

        found = tractor.get_runtime_vars()
        assert found["_is_root"] is True and found["_registry_addrs"] == ["mem://where"]
        found["_registry_addrs"].append("spoilt")
        assert tractor.get_runtime_vars()["_registry_addrs"] == ["mem://where"]
        as_struct = tractor.get_runtime_vars(as_dict=False)
        assert isinstance(as_struct, tractor.RuntimeVars)
        assert (as_struct.is_root, as_struct.registry_addrs) == (True, ["mem://where"])
        cleared = tractor.get_runtime_vars(as_dict=False, clear_values=True)
        assert cleared == tractor.RuntimeVars()
        await nursery.cancel()


async def test_old_names_of_an_actor_and_its_nursery(autojump_clock: MockClock) -> None:
    async with tractor.open_nursery(registry_addrs=["mem://old"], start_method="inproc") as nursery:
        with pytest.warns(DeprecationWarning, match="is now cancel_called"):
            assert nursery.cancelled is False
        with pytest.warns(DeprecationWarning, match="is now is_registrar"):
            assert tractor.current_actor().is_arbiter is True
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert tractor.current_actor().is_registrar is True
            await nursery.cancel()
            assert nursery.cancel_called


def test_an_aid_is_equal_and_hashed_by_uuid() -> None:
    one, same, other = Aid("a", "u", 1), Aid("b", "u", 2), Aid("a", "v", 1)
    assert one == same and hash(one) == hash(same) and one != other
    assert one.uid == ("a", "u")


def test_trionics_needs_no_runtime() -> None:
    script = (
        "import sys, tractor_core.trionics\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('tractor_core.')}\n"
        "assert rooms == {'trionics'}, rooms\n"
        "assert not {'msgspec', 'pluggy', 'asyncio'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
