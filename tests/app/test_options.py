"""What a root is told by argument, by environment, and by neither."""

from __future__ import annotations

from pathlib import Path

import pytest

import tractor_core as tractor
from tractor_core.app.options import RootOptions, addresses_of, make_root, schemes_of
from tractor_core.errors import PluginError
from tractor_core.ipc.cookie import KeyFileError
from tractor_core.plugin.manager import PluginManager

PRIVATE = b"0123456789abcdef"


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ({}, {}, ["tcp"]),
        ({"enable_transports": ["uds", "tcp"]}, {}, ["uds", "tcp"]),
        ({"registry_addrs": ["uds:///run/r.sock"]}, {}, ["uds"]),
        (
            {"bind_addrs": ["mem://a", ("::1", 0)], "registry_addrs": [("/run", "r.sock")]},
            {},
            ["mem", "tcp", "uds"],
        ),
        ({"enable_transports": ["tcp"], "registry_addrs": ["uds:///run/r.sock"]}, {}, ["tcp"]),
        ({"enable_transports": ["tcp"]}, {"TRACTOR_TRANSPORTS": "uds, tcp"}, ["uds", "tcp"]),
        ({"enable_transports": ["mem", "tcp", "mem"]}, {"TRACTOR_TRANSPORTS": " , "}, ["mem", "tcp"]),
    ],
)
def test_the_transports(
    arguments: dict[str, object], environment: dict[str, str], expected: list[str]
) -> None:
    assert schemes_of(RootOptions(**arguments), environment) == expected  # type: ignore[arg-type]


def test_the_environment_wins_over_the_start_method_argument() -> None:
    options = RootOptions(start_method="inproc", auth_key=PRIVATE)
    assert make_root(options, {}).start_method == "inproc"
    assert make_root(options, {"TRACTOR_SPAWN_METHOD": "subprocess"}).start_method == "subprocess"
    assert make_root(RootOptions(auth_key=PRIVATE), {}).start_method == "subprocess"


def test_addresses_in_all_their_forms() -> None:
    plugins = PluginManager.from_environment({})
    given = [
        "tcp://127.0.0.1:0",
        ("127.0.0.1", 0),
        ("/run/me", "r.sock"),
        tractor.Address("mem", "a"),
        "mem://a",
    ]
    assert [a.url for a in addresses_of(plugins, given)] == [
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:0",
        "uds:///run/me/r.sock",
        "mem://a",
    ]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("127.0.0.1:1616", "has no scheme|bad character|no scheme"),
        ("tcp://127.0.0.1", "has no port"),
        ("tcp://:1616", "has no host"),
        ("tcp://127.0.0.1:abc", "port 'abc' is not a number"),
        ("tcp://127.0.0.1:70000", "port 70000 is not in 0..65535"),
        ("tcp://127.0.0.1:1616/path", "has no path"),
        ("tcp://127.0.0.1:1616?colour=red", "unknown parameter 'colour'"),
        ("uds://relative.sock", "has no host"),
        ("tcp://::1:80", "needs brackets"),
        (("127.0.0.1",), "not an address"),
        (4711, "not an address"),
    ],
)
async def test_a_bad_address_says_what_is_wrong_with_it(url: object, says: str) -> None:
    for argument in ("registry_addrs", "bind_addrs"):
        with pytest.raises(ValueError, match=says):
            async with tractor.open_root_actor(**{"registry_addrs": ["mem://r"], argument: [url]}):
                pytest.fail("it listens")


@pytest.mark.parametrize("argument", ["enable_transports", "registry_addrs"])
async def test_an_unknown_scheme_lists_those_there_are(argument: str) -> None:
    value = {"enable_transports": ["pigeon"], "registry_addrs": ["pigeon://loft"]}[argument]
    with pytest.raises(PluginError, match="pigeon") as caught:
        async with tractor.open_root_actor(**{argument: value}):
            pytest.fail("it flies")
    assert "tcp" in str(caught.value) and "uds" in str(caught.value)


@pytest.mark.parametrize("argument", ["registry_addrs", "bind_addrs", "enable_transports", "enable_modules"])
async def test_a_string_where_a_list_belongs(argument: str) -> None:
    with pytest.raises(TypeError, match=rf"{argument} is a list, so write {argument}=\['tcp'\]"):
        async with tractor.open_root_actor(**{argument: "tcp"}):
            pytest.fail("it runs")


async def test_the_old_names_still_work() -> None:
    with pytest.warns(DeprecationWarning, match="arbiter_addr= is now registry_addrs="):
        async with tractor.open_root_actor(arbiter_addr="mem://old") as root:
            assert [a.url for a in root.reg_addrs] == ["mem://old"]
    with pytest.warns(DeprecationWarning, match="tpt_bind_addrs= is now bind_addrs="):
        async with tractor.open_root_actor(registry_addrs=["mem://r"], tpt_bind_addrs=["mem://here"]) as root:
            assert [a.url for a in root.accept_addrs] == ["mem://r", "mem://here"]


async def test_a_key_that_is_too_short_or_not_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="auth_key has 5 bytes, at least 16"):
        async with tractor.open_root_actor(registry_addrs=["mem://r"], auth_key="short"):
            pass
    shared = tmp_path / "key"
    shared.write_bytes(PRIVATE)
    shared.chmod(0o644)
    monkeypatch.setenv("TRACTOR_AUTH_KEY_FILE", str(shared))
    with pytest.raises(KeyFileError, match="key"):
        async with tractor.open_root_actor(registry_addrs=["mem://r"]):
            pass
    monkeypatch.setenv("TRACTOR_AUTH_KEY_FILE", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        async with tractor.open_root_actor(registry_addrs=["mem://r"]):
            pass
