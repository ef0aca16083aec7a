"""What peers may call."""

from __future__ import annotations

import sys
from types import ModuleType

import namespace_fixture as user
import pytest
import trio

from tractor_core.errors import ModuleNotExposed
from tractor_core.msg.exposure import Exposed
from tractor_core.msg.namespace import target_of

NAME = user.__name__


def targets(exposed: Exposed) -> set[str]:
    return {endpoint.target for endpoint in exposed}


def test_a_module_exposes_what_it_defines_and_lists() -> None:
    exposed = Exposed([NAME])
    here = {target.partition(":")[2] for target in targets(exposed) if target.startswith(f"{NAME}:")}
    assert here == {
        "public",
        "unlisted",
        "_listed",
        "stream",
        "dialog",
        "for_clients",
        "decorated",
        "other_name",
        "original_shadowed",
        "shadowed",
        "sleep_forever",
        "_replacement",  # the own name of the public `shadowed`
    }
    assert exposed.modules == {NAME}


def test_a_listed_import_is_found_by_the_name_its_callers_use() -> None:
    exposed = Exposed([NAME])
    assert target_of(trio.sleep_forever) in exposed
    assert exposed.lookup(target_of(trio.sleep_forever)).fn is trio.sleep_forever


@pytest.mark.parametrize(
    "name",
    [
        "_private",
        "synchronous",
        "Class",
        "Class.method",
        "bound",
        "partial",
        "join",
        "trio",
        "__all__",
        "logged",
    ],
)
def test_nothing_else_is_exposed(name: str) -> None:
    with pytest.raises(ModuleNotExposed):
        Exposed([user]).lookup(f"{NAME}:{name}")


def test_endpoints_say_what_they_are() -> None:
    exposed = Exposed([user])
    dialog = exposed.lookup(f"{NAME}:dialog")
    assert (dialog.fn, dialog.functype, dialog.context_parameter) == (user.dialog, "context", "ctx")
    assert dialog.signature.parameters == ("x",)
    assert dialog.signature is exposed.signatures.get(user.dialog)
    public = exposed.lookup(f"{NAME}:public")
    assert (public.functype, public.context_parameter, public.clients) == ("asyncfunc", None, False)
    assert exposed.lookup(f"{NAME}:for_clients").clients
    assert exposed.lookup(f"{NAME}:stream").functype == "asyncgen"


def test_single_functions() -> None:
    exposed = Exposed(functions=[user._private])
    assert targets(exposed) == {f"{NAME}:_private"}
    assert f"{NAME}:_private" in exposed
    with pytest.raises(ModuleNotExposed, match="only single functions are exposed, not 'public'"):
        exposed.lookup(f"{NAME}:public")
    with pytest.raises(TypeError):
        exposed.add_function(user.bound)


def test_errors_list_what_there_is() -> None:
    exposed = Exposed([user])
    with pytest.raises(ModuleNotExposed, match=f"has no endpoint 'publik'; did you mean .*{NAME}:public"):
        exposed.lookup(f"{NAME}:publik")
    with pytest.raises(ModuleNotExposed, match="'other' is not exposed.*exposed modules: namespace_fixture"):
        exposed.lookup("other:zzzzzzzzzzzzzzzzzzzzzzzz")
    with pytest.raises(ModuleNotExposed, match="not of the form"):
        exposed.lookup("nonsense")
    with pytest.raises(ModuleNotExposed, match="script a program was started with"):
        exposed.lookup("__main__:zzzz")
    with pytest.raises(ModuleNotExposed) as caught:
        exposed.lookup("x" * 100_000 + ":y")
    assert len(str(caught.value)) < 1000


def test_an_empty_table_refuses() -> None:
    with pytest.raises(ModuleNotExposed, match="pass it in enable_modules"):
        Exposed().lookup("a:b")
    assert len(Exposed()) == 0


@pytest.mark.parametrize("loaded_as", ["__main__", "__mp_main__"])
def test_the_script_is_found_under_either_name(loaded_as: str) -> None:
    script = ModuleType(loaded_as)
    exec("async def work(): ...", vars(script))
    exposed = Exposed([script])
    assert targets(exposed) == {"__main__:work"}
    assert exposed.modules == {"__main__"}
    assert exposed.lookup("__mp_main__:work") is exposed.lookup("__main__:work")
    assert "__mp_main__:work" in exposed


def test_no_attribute_is_fetched_for_a_name_from_the_wire() -> None:
    class Trap(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"{name} was fetched")

    trap = Trap("trap")
    vars(trap)["__all__"] = ["lazy"]
    exposed = Exposed([trap])
    for name in ("lazy", "__class__", "__loader__.x"):
        with pytest.raises(ModuleNotExposed):
            exposed.lookup(f"trap:{name}")


def test_a_module_that_cannot_be_imported() -> None:
    with pytest.raises(ModuleNotFoundError):
        Exposed(["no_such_module_anywhere"])
    assert "no_such_module_anywhere" not in sys.modules
