"""``tractor.js`` in a real browser, talking to a real service."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from browser_endpoints import TOKEN
from playwright.sync_api import Page

from tractor_websocket import browser_module

#: What an iterator says at its end.
END = {"value": None, "done": True}

Play = Callable[..., Any]
OpenPage = Callable[..., Page]

ATTEMPT = "([url, token]) => import('/scenarios.js').then((it) => it.attempt(url, token))"


def test_calls(play: Play) -> None:
    answers = play("calls")
    assert answers["add"] == 5 and answers["positional"] == 23 and answers["afterwards"] == 2
    assert answers["nothing"]["name"] == "MsgTypeError"  # what is undefined is left out, as JSON does
    assert answers["notFinite"] == [None, None, 1.5]
    assert answers["bytes"] == 1000
    assert answers["text"] == 'é "𝄞\\ ]'
    assert answers["peer"]
    assert answers["circular"]["name"] == "TypeError"
    assert answers["deep"]["name"] == "RangeError"
    assert answers["deepEnough"] == "fine"


def test_what_json_cannot_carry_is_refused_where_it_is_said(play: Play) -> None:
    answers = play("unsendable")
    half = "text with half of a surrogate pair"
    places = {
        "text": ("", half),
        "boxed": ("[0]", half),
        "deep": ('.a[1]["b c"]', half),
        "key": ('.also["good \\ud83d"]', f"a key of {half}"),
        "bigint": ("[2]", "a BigInt"),
        "function": (".run", "a function"),
        "symbol": ("[0]", "a symbol"),
        "function itself": ("", "a function"),
    }
    for name, (path, what) in places.items():
        called, sent = answers["refused"].pop(name)
        assert called == {"name": "TypeError", "message": f"$.value{path}: {what} cannot be sent"}
        assert sent == {"name": "TypeError", "message": f"${path}: {what} cannot be sent"}
    assert answers["refused"] == {}
    assert {name: error["name"] for name, error in answers["misuse"].items()} == dict.fromkeys(
        ["target", "halfTarget", "byPosition", "args", "kwargs", "nothing"], "TypeError"
    )
    assert answers["misuse"]["byPosition"]["message"] == f"$[1]: {half} cannot be sent"
    assert "not a value of type number" in answers["misuse"]["target"]["message"]
    # None of this was felt at the other end, and what JSON has its own way with goes on going.
    assert answers["echoed"] == {
        "whole": "\U0001f600",
        "list": [None, None],
        "date": "1970-01-01T00:00:00.000Z",
        "same": [[], []],
    }
    assert answers["streamed"][0] == "still here" and answers["result"] == "doubled"
    assert answers["closed"] is False


def test_large_values_go_both_ways_in_chunks(play: Play) -> None:
    assert play("largeValues", 2**20) == {"same": True, "small": 3}
    same, second, result = play("largeInAStream", 1_000_000)
    assert same and second == ["after it", "after it"] and result == "doubled"
    refused = play("tooLarge")
    assert refused["error"]["name"] == "MsgTooLarge" and refused["afterwards"] == 3


def test_streams_carry_values_both_ways_in_order(play: Play) -> None:
    assert play("bothWays", 1000) == {
        "started": "ready",
        "count": 1000,
        "inOrder": True,
        "result": "doubled",
        "done": True,
    }
    assert play("sentAtOnce", 200) == list(range(200))
    assert play("generator", 500) == list(range(500))


def test_leaving_a_stream_early(play: Play) -> None:
    assert play("generatorLeftEarly") is True
    assert play("leftAndTakenUp") == {"inOrder": True, "count": 300, "result": 300}
    left = play("closedEarly")
    assert left == {"more": END, "refused": "TransportClosed", "result": 2000}


def test_a_slow_reader_holds_up_the_actor(play: Play) -> None:
    assert play("slowReader", {"window": 3}, 0) == [50, 50]
    # Each value is larger than the whole window.
    assert play("slowReader", {"windowBytes": 1000}, 3000) == [50, 50]
    assert play("slowReader", {"overflow": "buffer", "window": 2}, 100) == [50, 50]


def test_a_full_window(play: Play) -> None:
    assert play("overrun")["name"] == "StreamOverrun"
    assert play("overrunByThePage") == {"sent": True, "error": "StreamOverrun", "outcome": "StreamOverrun"}
    assert play("heldUp") == {"sent": True, "error": "AbortError"}


def test_cancelling(play: Play) -> None:
    assert play("cancelled") == {
        "started": "cancelled",
        "acked": True,
        "result": "ContextCancelled",
        "mine": True,
        "reading": END,
        "unwound": True,
        "again": "nothing",
    }
    assert play("disposed") is True


def test_aborting_by_a_signal(play: Play) -> None:
    assert play("abortedCall") == {
        "error": {"name": "Error", "message": "enough"},
        "unwound": True,
        "before": "AbortError",
    }
    assert play("abortedStream") == {"reading": "enough", "result": "enough", "unwound": True}


def test_errors_arrive_whole(play: Play) -> None:
    answers = play("errors")
    assert answers["failed"]["name"] == "RemoteActorError"
    assert answers["failed"]["type"] == "browser_endpoints:OutOfStock"
    assert answers["failed"]["notes"] == ["try again tomorrow"]
    assert answers["failed"]["cause"] == "builtins:KeyError"
    arguments = ["tea", 3, -(2**40), f"{2**60}n", 1.5, None, True, [0, 1], ["a", {"b": 70_000}]]
    assert answers["args"] == arguments
    assert answers["traceback"] and answers["crossed"] == 1 and answers["classes"]
    assert answers["group"] == [["builtins:ValueError", "one"], ["builtins:KeyError", "'other'"]]
    assert answers["wrong"] == {"name": "MsgTypeError", "path": "$.x", "expected": "int"}
    assert answers["broke"] == {"values": [0, 1, 2], "name": "RemoteActorError", "message": "broke"}
    assert answers["result"] == "RemoteActorError"


def test_what_clients_may_not(play: Play) -> None:
    answers = play("refusals")
    assert {refusal["name"] for refusal in answers["calls"]} == {"ModuleNotExposed"}
    for refusal in answers["calls"]:
        assert "is not open to client 'page'" in refusal["message"]
    assert answers["context"]["name"] == "ModuleNotExposed"
    assert answers["cancelActor"]["name"] == "CancelRefused"
    assert answers["afterwards"] == 3


def test_a_bystander_is_not_disturbed(play: Play) -> None:
    answers = play("bystander")
    assert answers["wrongToken"] == {
        "name": "AuthenticationFailed",
        "message": "the peer refused: the dialler does not hold a token that is known here",
    }
    assert answers["cancelActor"] == "CancelRefused" and answers["secret"] == "ModuleNotExposed"
    assert answers["heard"] == [1, 2, 3, 4, 5] and answers["result"] == "doubled"


def test_closing(play: Play) -> None:
    answers = play("closing")
    assert answers["call"]["name"] == answers["reading"] == answers["late"] == "TransportClosed"
    assert answers["closed"] and answers["events"] == [None]


def test_misuse(play: Play) -> None:
    assert play("misuse") == {
        "shortToken": "RangeError",
        "aborted": "AbortError",
        "window": "RangeError",
        "overflow": "RangeError",
        "name": "TypeError",
        "freshToken": None,
        "base64": "AAH/",
    }


def test_a_page_of_another_origin(open_page: OpenPage, service: Any) -> None:
    own, foreign = open_page("127.0.0.1"), open_page("localhost")
    assert own.evaluate(ATTEMPT, [service.url, TOKEN]) == "connected"
    refused = foreign.evaluate(ATTEMPT, [service.url, TOKEN])
    assert refused["name"] == "TransportClosed"
    assert "this page (http://localhost:" in refused["message"]
    assert own.evaluate(ATTEMPT, [service.url, TOKEN]) == "connected"


def test_nobody_there(open_page: OpenPage) -> None:
    refused = open_page().evaluate(ATTEMPT, ["ws://127.0.0.1:1", TOKEN])
    assert refused["name"] == "TransportClosed"


def test_the_declarations_name_what_there_is(open_page: OpenPage) -> None:
    declarations = browser_module().with_suffix(".d.ts").read_text()
    declared = re.findall(r"^export (?:class|function) (\w+)", declarations, re.MULTILINE)
    exported = open_page().evaluate("import('/tractor.js').then((it) => Object.keys(it))")
    assert sorted(declared) == sorted(exported)


def test_the_module_imports_nothing() -> None:
    assert not re.search(r"^import |\bimport\(", browser_module().read_text(), re.MULTILINE)


def test_an_idle_page_is_heard_of(open_page: OpenPage, start: Callable[..., Any], site: int) -> None:
    # The service closes what it hears nothing of for so long: the page answers its pings.
    url = start("browser_endpoints.py", f"http://127.0.0.1:{site}", "0", "2.5").url
    idle = "url => import('/scenarios.js').then((it) => it.idle(url, 4000))"
    assert open_page().evaluate(idle, url) == 3
