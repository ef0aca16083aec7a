"""Hooks: contained failures, strict registration, and the rules of authorization."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest
from plugin_samples import SPAWNER, TRANSPORT

from tractor_core.errors import PluginError
from tractor_core.plugin import PluginManager, hookspec
from tractor_core.plugin.catalogue import Catalogue
from tractor_core.seams import hookimpl

IMPORT = "from tractor_core.seams import hookimpl\n"


def manager(site: Path, **environ: str) -> PluginManager:
    return PluginManager.from_environment(environ, path=[str(site)])


def plugin(**functions: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})


def test_every_hook_is_specified_and_documented() -> None:
    expected = {
        "tractor_transports",
        "tractor_spawners",
        "tractor_actor_starting",
        "tractor_actor_stopped",
        "tractor_authorize",
        "tractor_dialog_opened",
        "tractor_dialog_closed",
        "tractor_channel_opened",
        "tractor_channel_closed",
        "tractor_peer_unresponsive",
        "tractor_peer_recovered",
    }
    specified = {name for name in vars(PluginManager().hook) if not name.startswith("_")}
    assert specified == expected
    assert all(getattr(hookspec, name).__doc__ for name in expected)


def test_short_cuts_see_what_pluggy_would_see() -> None:
    ours, theirs = PluginManager(), pluggy.PluginManager("tractor_core")
    for name in dir(hookspec):
        assert ours.parse_hookspec_opts(hookspec, name) == theirs.parse_hookspec_opts(hookspec, name), name
    for each in (TRANSPORT, SPAWNER, plugin(tractor_actor_starting=lambda: None)):
        for name in dir(each):
            assert ours.parse_hookimpl_opts(each, name) == theirs.parse_hookimpl_opts(each, name), name


@pytest.mark.parametrize(
    ("hook", "flag", "values"),
    [
        ("tractor_actor_starting", "actor_starting", {"actor": 1}),
        ("tractor_actor_stopped", "actor_stopped", {"actor": 1}),
        ("tractor_dialog_opened", "dialog_opened", {"context": 1}),
        ("tractor_dialog_closed", "dialog_closed", {"context": 1, "outcome": 2}),
        ("tractor_channel_opened", "channel_opened", {"channel": 1}),
        ("tractor_channel_closed", "channel_closed", {"channel": 1, "reason": 2}),
    ],
)
def test_notifications_and_their_flags(hook: str, flag: str, values: dict[str, int]) -> None:
    calls: list[object] = []

    arguments = ", ".join(values)
    namespace: dict[str, Any] = {"calls": calls}
    exec(f"def {hook}({arguments}): calls.append(dict({', '.join(f'{n}={n}' for n in values)}))", namespace)
    plugins = PluginManager()
    assert getattr(plugins, flag) is False
    assert not plugins.has(hook)
    plugins.notify(hook, **values)
    full, lazy = plugin(**{hook: namespace[hook]}), plugin(**{hook: lambda: calls.append("lazy")})
    plugins.register(full)
    plugins.register(lazy)
    assert getattr(plugins, flag) is True
    assert plugins.has(hook)
    plugins.notify(hook, **values)
    assert calls == ["lazy", values]
    plugins.unregister(full)
    plugins.unregister(lazy)
    assert getattr(plugins, flag) is False


@pytest.mark.parametrize("error", [ValueError("oops"), SystemExit(1), GeneratorExit()])
def test_raising_hook_is_logged_with_its_distribution_and_harms_nobody(
    distribution: Any, site: Path, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    bad = IMPORT + f"@hookimpl\ndef tractor_dialog_opened(context): raise {error!r}\n"
    good = IMPORT + "seen = []\n@hookimpl\ndef tractor_dialog_opened(context): seen.append(context)\n"
    distribution("bad-dist", {"plugins": {"bad": "raising_h"}}, raising_h=bad)
    distribution("good-dist", {"plugins": {"good": "noting_h"}}, noting_h=good)
    plugins = manager(site)
    plugins.load_hooks()
    plugins.notify("tractor_dialog_opened", context="c")
    (noting,) = (found for name, found in plugins.list_name_plugin() if "good-dist" in name)
    assert noting.seen == ["c"]
    assert "bad-dist" in caplog.text
    assert "good-dist" not in caplog.text


def test_keyboard_interrupt_in_a_hook_is_not_swallowed() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    plugins = PluginManager()
    plugins.register(plugin(tractor_actor_stopped=interrupt))
    with pytest.raises(KeyboardInterrupt):
        plugins.notify("tractor_actor_stopped", actor=None)


def test_arguments_with_defaults_are_passed() -> None:
    seen = []
    plugins = PluginManager()

    def authorize(peer: object, target: str = "unknown", own: int = 7) -> bool:
        seen.append((peer, target, own))
        return True

    plugins.register(plugin(tractor_authorize=authorize))
    plugins.authorize("p", "m:f")
    assert seen == [("p", "m:f", 7)]


def fail() -> bool:
    raise RuntimeError("cannot tell")


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([], None),
        ([None], None),
        ([True], True),
        ([False], False),
        ([None, True], True),
        ([True, False], False),
        ([False, True], False),
        ([True, None, fail], False),
        ([fail, True], False),
        ([1], False),
        ([True, "yes"], False),
        ([0, None], False),
    ],
)
def test_authorize(answers: list[Any], verdict: bool | None) -> None:
    plugins = PluginManager()
    asked = []

    def make(answer: Any) -> Callable[..., Any]:
        def authorize(peer: object, target: str) -> Any:
            asked.append((peer, target))
            return answer() if callable(answer) else answer

        return authorize

    for answer in answers:
        plugins.register(plugin(tractor_authorize=make(answer)))
    assert plugins.has_authorize is bool(answers)
    assert plugins.authorize("peer", "mod:fn") is verdict
    assert asked == [("peer", "mod:fn")] * len(answers)


def test_async_implementations_and_wrappers_are_refused() -> None:
    async def opened(context: object) -> None: ...

    async def generated(context: object) -> Any:
        yield

    plugins = PluginManager()
    for function in (opened, generated):
        both = plugin(tractor_channel_opened=lambda channel: None, tractor_dialog_opened=function)
        with pytest.raises(pluggy.PluginValidationError, match="async def"):
            plugins.register(both)

    def wrapper(context: object) -> Any:
        yield

    with pytest.raises(pluggy.PluginValidationError, match="wrapper"):
        plugins.register(SimpleNamespace(tractor_dialog_opened=hookimpl(wrapper=True)(wrapper)))
    with pytest.raises(pluggy.PluginValidationError, match="nonsense"):
        plugins.register(plugin(tractor_dialog_opened=lambda nonsense: None))
    assert not plugins.dialog_opened
    assert not plugins.channel_opened
    assert plugins.get_plugins() == set()


def test_broken_hook_plugins_do_not_stop_the_others(
    distribution: Any, site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = {
        "h_raises": "raise ImportError('no luck')",
        "h_exits": "raise SystemExit",
        "h_async": IMPORT + "@hookimpl\nasync def tractor_dialog_opened(context): ...\n",
        "h_argument": IMPORT + "@hookimpl\ndef tractor_dialog_opened(kontext): ...\n",
        "h_misspelt": IMPORT + "@hookimpl\ndef tractor_dialogue_opened(context): ...\n",
        "h_good": IMPORT + "@hookimpl\ndef tractor_actor_stopped(actor): ...\n",
        "h_optional": IMPORT + "@hookimpl(optionalhook=True)\ndef other_tool_hook(): ...\n",
    }
    for module, source in sources.items():
        distribution(f"dist-{module}", {"plugins": {"same-name": module}}, **{module: source})
    # Whoever only looks is told the same, and nothing comes of looking.
    watcher = manager(site)
    before = {row.provider.target: (row.status, row.detail) for row in watcher.list_providers()}
    assert not watcher.actor_stopped and watcher.get_plugins() == set()
    assert caplog.records == []

    plugins = manager(site)
    plugins.load_hooks()
    plugins.load_hooks()
    states = {row.provider.target: row for row in plugins.list_providers()}
    assert before == {target: (row.status, row.detail) for target, row in states.items()}
    assert {target for target, row in states.items() if row.status == "available"} == {"h_good", "h_optional"}
    assert "tractor_dialogue_opened" in states["h_misspelt"].detail
    assert "tractor_dialog_opened" in states["h_misspelt"].detail
    assert "async def" in states["h_async"].detail
    assert "kontext" in states["h_argument"].detail
    for module in sources.keys() - {"h_good", "h_optional"}:
        assert f"dist-{module}" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 5
    assert plugins.actor_stopped
    assert not plugins.dialog_opened
    plugins.check_pending()


def test_a_transport_may_bring_hooks_and_is_refused_when_they_are_misspelt(
    distribution: Any, site: Path
) -> None:
    hooked = IMPORT + TRANSPORT + "Sample.tractor_channel_opened = hookimpl(lambda self, channel: None)\n"
    distribution("sample", {"transports": {"one": "hooked_t:transport"}}, hooked_t=hooked)
    misspelt = hooked.replace("tractor_channel_opened", "tractor_chanel_opened")
    distribution("typo", {"transports": {"two": "typo_t:transport"}}, typo_t=misspelt)
    plugins = manager(site)
    fine, broken = plugins.list_providers()
    assert (fine.status, broken.status) == ("available", "broken")
    assert not plugins.channel_opened
    plugins.transport("one")
    assert plugins.channel_opened
    with pytest.raises(PluginError, match="tractor_chanel_opened") as caught:
        plugins.transport("two")
    assert broken.detail == str(caught.value)


def test_transports_and_spawners_made_by_hooks(distribution: Any, site: Path) -> None:
    made = IMPORT + TRANSPORT + SPAWNER
    made += "@hookimpl\ndef tractor_transports(): return [transport, Sample('three')]\n"
    made += "@hookimpl\ndef tractor_spawners(): yield Backend('elsewhere')\n"
    distribution("maker", {"plugins": {"maker": "maker_h"}}, version="9", maker_h=made)
    plugins = manager(site)
    plugins.load_hooks()
    assert plugins.schemes() == ["one", "three", "two"]
    assert plugins.methods() == ["elsewhere"]
    assert plugins.transport("one") is plugins.transport("two")
    assert plugins.transport("three").schemes == ("three",)
    assert plugins.spawner("elsewhere").name == "elsewhere"
    assert [row.kind for row in plugins.table()] == ["hooks"]
    assert {row.provider.source for row in plugins.list_providers()} == {"maker 9"}

    (module,) = plugins.get_plugins()
    plugins.unregister(module)
    assert plugins.schemes() == []
    with pytest.raises(PluginError):
        plugins.transport("one")


def test_the_table_is_worked_out_once_and_again_when_plugins_come_or_go(
    distribution: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = IMPORT + TRANSPORT + "@hookimpl\ndef tractor_transports(): return [transport]\n"
    distribution("maker", {"plugins": {"maker": "comes_h"}}, comes_h=made)
    distribution("sample", {"transports": {"one": "comes_t:transport"}}, comes_t=TRANSPORT)
    plugins = manager(site, TRACTOR_PLUGINS="one=maker")
    assert {row.name for row in plugins.table()} == {"maker", "one"}, "maker has not made anything yet"
    plugins.table().clear()
    with monkeypatch.context() as patch:
        patch.setattr(Catalogue, "state", lambda self, row: pytest.fail("worked out again"))
        assert {row.name for row in plugins.table()} == {"maker", "one"}
    plugins.load_hooks()
    assert [row.name for row in plugins.table()] == ["maker"]
    (module,) = plugins.get_plugins()
    plugins.unregister(module)
    assert {row.name for row in plugins.table()} == {"maker", "one"}


def test_made_transport_conflicts_and_can_be_chosen(distribution: Any, site: Path) -> None:
    made = IMPORT + TRANSPORT + "@hookimpl\ndef tractor_transports(): return [transport]\n"
    distribution("maker", {"plugins": {"maker": "rival_h"}}, rival_h=made)
    distribution("sample", {"transports": {"one": "rival_t:transport"}}, rival_t=TRANSPORT)
    plugins = manager(site)
    before = plugins.transport("one")
    plugins.load_hooks()
    with pytest.raises(PluginError, match=r"provided by .*maker 1.0"):
        plugins.transport("one")
    chosen = manager(site, TRACTOR_PLUGINS="one=maker")
    chosen.load_hooks()
    assert chosen.transport("one") is not before


def test_failing_makers_are_logged(distribution: Any, site: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = IMPORT + "@hookimpl\ndef tractor_transports(): return [object()]\n"
    made += "@hookimpl\ndef tractor_spawners():\n    raise OSError('no luck')\n"
    distribution("maker", {"plugins": {"maker": "failing_h"}}, failing_h=made)
    plugins = manager(site)
    plugins.load_hooks()
    assert plugins.schemes() == plugins.methods() == []
    assert "is no Transport" in caplog.text
    assert "no luck" in caplog.text
    assert caplog.text.count("tractor_core.plugins:maker:failing_h") >= 2
