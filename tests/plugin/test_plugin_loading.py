"""A plugin that cannot be imported, or is not what it claims, fails when asked for and says why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from plugin_samples import SPAWNER, TRANSPORT

from tractor_core.errors import PluginError
from tractor_core.plugin import PluginManager, Provider


def manager(site: Path, **environ: str) -> PluginManager:
    return PluginManager.from_environment(environ, path=[str(site)])


@pytest.mark.parametrize(
    ("source", "quoted"),
    [
        ("raise ValueError('no luck')", "ValueError: no luck"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Odd(BaseException): ...\nraise Odd('odd')", "Odd: odd"),
        ("syntax error", "SyntaxError"),
        ("", "has no attribute 'transport'"),
    ],
)
def test_broken_import_is_contained_quoted_and_remembered(
    distribution: Any, site: Path, source: str, quoted: str
) -> None:
    count = "import sys\nsys._broken_imports = getattr(sys, '_broken_imports', 0) + 1\n"
    if source != "syntax error":
        source = count + source
    distribution("bad-dist", {"transports": {"one": "broken_t:transport"}}, broken_t=source)
    distribution("good", {"transports": {"two": "good_t:transport"}}, good_t=TRANSPORT)
    plugins = manager(site)
    try:
        for _ in range(2):
            with pytest.raises(PluginError) as caught:
                plugins.transport("one")
            assert quoted in str(caught.value)
            assert "pip install --force-reinstall bad-dist" in str(caught.value)
            assert caught.value.__cause__ is not None
        assert getattr(sys, "_broken_imports", 1) == 1
    finally:
        if hasattr(sys, "_broken_imports"):
            del sys._broken_imports
    assert plugins.transport("two").schemes == ("one", "two")
    assert [row.status for row in plugins.list_providers()] == ["broken", "available"]


def test_keyboard_interrupt_is_not_contained(distribution: Any, site: Path) -> None:
    distribution(
        "bad-dist", {"transports": {"one": "interrupted:transport"}}, interrupted="raise KeyboardInterrupt"
    )
    with pytest.raises(KeyboardInterrupt):
        manager(site).transport("one")


@pytest.mark.parametrize(("written", "quoted"), [("[loft]", "loft"), (" [loft, air]", "loft,air")])
def test_a_missing_extra_is_quoted(distribution: Any, site: Path, written: str, quoted: str) -> None:
    distribution(
        "third", {"transports": {"one": f"needy:transport{written}"}}, needy="import no_such_library_here"
    )
    plugins = manager(site)
    assert plugins.schemes() == ["one"]
    with pytest.raises(PluginError) as caught:
        plugins.transport("one")
    assert f"pip install 'third[{quoted}]'" in str(caught.value)
    assert "no_such_library_here" in str(caught.value)
    assert [row.status for row in plugins.list_providers()] == ["missing extra"]
    # Children are told the same, from the table alone.
    with pytest.raises(PluginError) as in_a_child:
        PluginManager.from_table(plugins.table()).transport("one")
    assert str(in_a_child.value) == str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "extra"),
    [("zmq+tcp", "zmq"), ("zmq+ipc", "zmq"), ("ws", "websocket"), ("wss", "websocket"), ("tcp", "")],
)
def test_our_own_plugins_name_their_extras(scheme: str, extra: str) -> None:
    (row,) = (row for row in PluginManager.from_environment({}).table() if row.name == scheme)
    assert row.distribution == "tractor-core"
    assert row.extras == extra


def test_extras_do_not_hinder_the_import(distribution: Any, site: Path) -> None:
    distribution("sample", {"transports": {"one": "extra_t:transport [loft]"}}, extra_t=TRANSPORT)
    assert manager(site).transport("one").schemes == ("one", "two")
    assert manager(site).table()[0].module == "extra_t"


def test_missing_dependency_of_another_distribution(distribution: Any, site: Path) -> None:
    distribution(
        "third", {"spawners": {"one": "needy_b:backend"}}, needy_b="import no_such_library_here.deep"
    )
    with pytest.raises(PluginError, match=r"needs module 'no_such_library_here'.*: pip install third$"):
        manager(site).spawner("one")


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ("del Sample.listen, Sample.parse", "parse, listen"),
        ("Sample.connect = None", "connect"),
        ("transport.schemes = 'one'", "schemes"),
        ("transport.schemes = ()", "schemes"),
        ("transport = Sample", "is a class"),
        ("transport = Sample('other')", "does not declare scheme 'one'"),
        ("transport = Sample('one', 'One')", "no URL can have the scheme 'One' .schemes are lower case"),
        ("transport = Sample('one', '1st')", "no URL can have the scheme '1st'"),
        ("transport = Sample('one', 'a:b')", "no URL can have the scheme 'a:b'"),
        ("transport = Sample('one', '')", "no URL can have the scheme ''"),
    ],
)
def test_what_is_no_transport(distribution: Any, site: Path, change: str, missing: str) -> None:
    distribution("sample", {"transports": {"one": "notone:transport"}}, notone=TRANSPORT + change)
    with pytest.raises(PluginError, match=missing):
        manager(site).transport("one")


@pytest.mark.parametrize(
    ("change", "missing"),
    [("del Backend.spawn", "spawn"), ("backend.name = None", "name"), ("backend = 7", "name")],
)
def test_what_is_no_spawn_backend(distribution: Any, site: Path, change: str, missing: str) -> None:
    distribution("sample", {"spawners": {"subprocess": "notspawn:backend"}}, notspawn=SPAWNER + change)
    with pytest.raises(PluginError, match=missing):
        manager(site).spawner("trio")


def test_listing_shows_states_and_import_times(distribution: Any, site: Path) -> None:
    distribution("sample", {"transports": {"one": "listed:transport"}}, version="4.2", listed=TRANSPORT)
    distribution("rival", {"transports": {"one": "listed:transport"}})
    conflicting = manager(site).list_providers()
    assert [row.status for row in conflicting] == ["conflict", "conflict"]
    assert [row.seconds for row in conflicting] == [None, None]
    (row,) = manager(site, TRACTOR_DISABLE_PLUGINS="rival").list_providers()[1:]
    assert row.provider == Provider("transport", "one", "listed:transport", "sample", "4.2")
    assert row.status == "available"
    assert row.seconds is not None


def test_a_scheme_that_no_url_can_have(distribution: Any, site: Path) -> None:
    source = TRANSPORT + "upper = Sample('Upper')"
    distribution("loud", {"transports": {"Upper": "upper_t:upper"}}, upper_t=source)
    plugins = manager(site)
    (row,) = plugins.list_providers()
    assert row.status == "broken" and "no URL can have the scheme 'Upper'" in row.detail
    for name in ("Upper", "upper"):
        with pytest.raises(PluginError, match=r"loud 1\.0.*'Upper'.*schemes are lower case"):
            plugins.transport(name)
    with pytest.raises(PluginError, match="no URL can have the scheme 'Upper'"):
        plugins.add_transport(sys.modules["upper_t"].upper)


def test_blocked_by_pluggy_name(distribution: Any, site: Path) -> None:
    distribution("sample", {"transports": {"one": "blocked_t:transport"}}, blocked_t=TRANSPORT)
    plugins = manager(site)
    plugins.set_blocked("tractor_core.transports:sample:transport")
    (listed,) = plugins.list_providers()
    with pytest.raises(PluginError, match="is blocked") as caught:
        plugins.transport("one")
    assert (listed.status, listed.detail) == ("broken", str(caught.value))


def test_objects_handed_over_go_first(distribution: Any, site: Path) -> None:
    distribution("sample", {"transports": {"one": "real_t:transport"}}, real_t=TRANSPORT, real_s=SPAWNER)
    plugins = manager(site)
    namespace: dict[str, Any] = {}
    exec(TRANSPORT + SPAWNER, namespace)
    mine = namespace["transport"]
    plugins.transport("one")
    plugins.add_transport(mine)
    plugins.add_transport(mine)
    plugins.add_spawner(namespace["backend"])
    assert plugins.transport("one") is mine
    assert plugins.transport("two") is mine
    assert plugins.spawner("trio") is namespace["backend"]
    assert plugins.schemes() == ["one", "two"]
    assert [row.target for row in plugins.table()] == ["real_t:transport"]
    with pytest.raises(PluginError, match="already added"):
        plugins.add_transport(namespace["Sample"]("one"))
    with pytest.raises(PluginError, match="lacks"):
        plugins.add_transport(namespace["backend"].__class__("x") and type("T", (), {"schemes": ("z",)})())


def test_equal_objects_do_not_upset_pluggy(distribution: Any, site: Path) -> None:
    equal = TRANSPORT + "Sample.__eq__ = lambda self, other: isinstance(other, Sample)\n"
    equal += "Sample.__hash__ = lambda self: 1\ntransport_two = Sample('two')\n"
    groups = {"transports": {"one": "equal_t:transport", "two": "equal_t:transport_two"}}
    distribution("sample", groups, equal_t=equal)
    plugins = manager(site)
    assert plugins.transport("one") is sys.modules["equal_t"].transport
    assert plugins.transport("two") is sys.modules["equal_t"].transport_two
