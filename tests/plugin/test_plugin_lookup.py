"""Which plugin a name belongs to, and what is said when there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import astuple
from plugin_samples import SPAWNER, TRANSPORT

from tractor_core.errors import PluginError
from tractor_core.plugin import PluginManager, Provider


def manager(site: Path, **environ: str) -> PluginManager:
    return PluginManager.from_environment(environ, path=[str(site)])


def test_nothing_is_scanned_or_imported_until_asked(distribution: Any, site: Path) -> None:
    plugins = manager(site)
    distribution(
        "sample", {"transports": {"one": "lazy_a:transport", "two": "lazy_a:transport"}}, lazy_a=TRANSPORT
    )
    assert plugins.schemes() == ["one", "two"]
    assert "lazy_a" not in sys.modules
    found = plugins.transport("one")
    assert found.schemes == ("one", "two")
    assert found is sys.modules["lazy_a"].transport
    assert plugins.transport("one") is found


def test_one_object_for_two_schemes_is_registered_once(distribution: Any, site: Path) -> None:
    distribution(
        "sample", {"transports": {"one": "twice:transport", "two": "twice:transport"}}, twice=TRANSPORT
    )
    plugins = manager(site)
    assert plugins.transport("one") is plugins.transport("two")
    assert [name for name, _ in plugins.list_name_plugin()] == ["tractor_core.transports:sample:transport"]


def test_transport_and_spawner_of_one_name_are_different_things(distribution: Any, site: Path) -> None:
    groups = {"transports": {"one": "both_t:transport"}, "spawners": {"one": "both_s:backend"}}
    distribution("sample", groups, both_t=TRANSPORT, both_s=SPAWNER)
    plugins = manager(site)
    assert plugins.transport("one") is not plugins.spawner("one")
    assert len(plugins.list_name_plugin()) == 2


@pytest.mark.parametrize(
    ("alias", "method"),
    [("trio", "subprocess"), ("mp_forkserver", "forkserver"), ("mp_spawn", "multiprocessing")],
)
def test_spawner_aliases(distribution: Any, site: Path, alias: str, method: str) -> None:
    distribution("sample", {"spawners": {method: "alias_s:backend"}}, alias_s=SPAWNER)
    plugins = manager(site)
    assert plugins.spawner(alias) is plugins.spawner(method)
    assert plugins.methods() == [method]


def test_unknown_names_list_what_there_is(distribution: Any, site: Path) -> None:
    distribution("sample", {"transports": {"one": "unknown_t:transport"}}, unknown_t=TRANSPORT)
    with pytest.raises(PluginError, match=r"unknown transport scheme 'carrier-pigeon': there is one"):
        manager(site).transport("carrier-pigeon")
    with pytest.raises(PluginError, match=r"unknown start method 'magic': no installed distribution"):
        manager(site).spawner("magic")


def test_conflict_names_both_and_matters_only_when_asked(distribution: Any, site: Path) -> None:
    distribution(
        "first-dist", {"transports": {"one": "conf_a:transport", "two": "conf_a:transport"}}, conf_a=TRANSPORT
    )
    distribution("other", {"transports": {"one": "conf_b:transport"}}, version="2.5", conf_b=TRANSPORT)
    plugins = manager(site)
    plugins.transport("two")
    with pytest.raises(PluginError) as caught:
        plugins.transport("one")
    for part in ("first-dist 1.0", "other 2.5", "TRACTOR_PLUGINS='one="):
        assert part in str(caught.value)
    assert "conf_b" not in sys.modules


def test_the_user_chooses(distribution: Any, site: Path) -> None:
    distribution("first-dist", {"transports": {"one": "choice_a:transport"}}, choice_a=TRANSPORT)
    distribution("other", {"transports": {"one": "choice_b:transport"}}, choice_b=TRANSPORT)
    plugins = manager(site, TRACTOR_PLUGINS="one=First_Dist")
    assert plugins.transport("one") is sys.modules["choice_a"].transport
    assert "choice_b" not in sys.modules
    assert {row.provider.distribution: row.status for row in plugins.list_providers()} == {
        "first-dist": "available",
        "other": "shadowed",
    }
    with pytest.raises(
        PluginError,
        match=r"gives transport scheme 'one' to nobody.*first-dist 1.0 and other 1.0|"
        r"gives transport scheme 'one' to nobody.*other 1.0 and first-dist 1.0",
    ):
        manager(site, TRACTOR_PLUGINS="one=nobody").transport("one")


@pytest.mark.parametrize("text", ["one", "=dist", "one=", "a=b,,c"])
def test_choice_that_cannot_be_read(text: str) -> None:
    with pytest.raises(PluginError, match="TRACTOR_PLUGINS"):
        PluginManager.from_environment({"TRACTOR_PLUGINS": text})


@pytest.mark.parametrize("blocked", ["one", "first.dist", " x , FIRST-DIST"])
def test_disabled_by_name_or_distribution(distribution: Any, site: Path, blocked: str) -> None:
    distribution("first-dist", {"transports": {"one": "dis_a:transport"}}, dis_a=TRANSPORT)
    plugins = manager(site, TRACTOR_DISABLE_PLUGINS=blocked)
    assert plugins.schemes() == []
    with pytest.raises(PluginError, match=r"first-dist 1.0, is disabled by TRACTOR_DISABLE_PLUGINS"):
        plugins.transport("one")
    assert [row.status for row in plugins.list_providers()] == ["disabled"]
    assert plugins.table() == []
    assert "dis_a" not in sys.modules


def test_disabling_one_of_two_settles_a_conflict(distribution: Any, site: Path) -> None:
    distribution("first-dist", {"transports": {"one": "settle_a:transport"}}, settle_a=TRANSPORT)
    distribution("other", {"transports": {"one": "settle_b:transport"}}, settle_b=TRANSPORT)
    plugins = manager(site, TRACTOR_DISABLE_PLUGINS="first-dist")
    assert plugins.transport("one") is sys.modules["settle_b"].transport


def test_table_takes_everything_to_a_child_that_scans_nothing(
    distribution: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {
        "transports": {"one": "table_t:transport", "two": "table_t:transport"},
        "spawners": {"subprocess": "table_s:backend"},
        "plugins": {"noticing": "table_h"},
    }
    hooks = "from tractor_core.seams import hookimpl\n@hookimpl\ndef tractor_actor_starting(actor): ...\n"
    distribution("sample", groups, table_t=TRANSPORT, table_s=SPAWNER, table_h=hooks)
    distribution("hidden", {"transports": {"one": "table_x:transport"}})
    parent = manager(site, TRACTOR_PLUGINS="one=sample")
    rows = [Provider(*astuple(row)) for row in parent.table()]
    assert {(row.kind, row.name) for row in rows} == {
        ("transport", "one"),
        ("transport", "two"),
        ("spawner", "subprocess"),
        ("hooks", "noticing"),
    }

    import importlib.metadata

    def no_scan(**kwargs: Any) -> Any:
        raise AssertionError("a child must not scan metadata")

    monkeypatch.setattr(importlib.metadata, "distributions", no_scan)
    child = PluginManager.from_table(rows)
    child.load_hooks()
    assert child.has("tractor_actor_starting")
    assert child.actor_starting
    assert child.transport("two").schemes == ("one", "two")
    assert child.spawner("trio").name == "subprocess"
    assert child.table() == rows


def test_a_conflict_is_the_same_in_the_child(distribution: Any, site: Path) -> None:
    distribution("first-dist", {"transports": {"one": "cc_a:transport"}}, cc_a=TRANSPORT)
    distribution("other", {"transports": {"one": "cc_b:transport"}}, cc_b=TRANSPORT)
    child = PluginManager.from_table(manager(site).table())
    with pytest.raises(PluginError, match=r"provided by .* and .*; choose one"):
        child.transport("one")


def test_child_that_lacks_a_plugin_says_which() -> None:
    child = PluginManager.from_table(
        [Provider("transport", "one", "not_here_at_all:transport", "sample", "3.1")]
    )
    with pytest.raises(PluginError, match=r"'one', provided by sample 3.1 as 'not_here_at_all:transport'"):
        child.transport("one")


def test_the_first_copy_of_a_distribution_hides_the_second(distribution: Any, site: Path) -> None:
    distribution("sample", {"transports": {"one": "copy_a:transport"}}, copy_a=TRANSPORT)
    later = site / "later"
    info = later / "Sample-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Sample\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[tractor_core.transports]\nold = copy_b:transport\n")
    assert PluginManager.from_environment({}, path=[str(site), str(later)]).schemes() == ["one"]


def test_unreadable_metadata_harms_only_its_distribution(
    distribution: Any, site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    distribution("sample", {"transports": {"one": "meta_a:transport"}}, meta_a=TRANSPORT)
    info = site / "torn-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torn\nVersion: 1\n")
    (info / "entry_points.txt").write_bytes(b"[tractor_core.transports]\n\xff\xfe = x\n")
    plugins = manager(site)
    assert plugins.schemes() == ["one"]
    assert "cannot read the plugins of a distribution" in caplog.text


def test_our_own_plugins_are_found_by_their_entry_points() -> None:
    own = {(row.kind, row.name) for row in PluginManager.from_environment({}).table()}
    assert {("transport", "tcp"), ("transport", "uds"), ("spawner", "subprocess")} <= own
