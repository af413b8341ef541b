"""Plugins are found, ordered and refused with a reason."""

from __future__ import annotations

import pytest

from pgbeam_core import plugins
from pgbeam_core.errors import PluginError


def refusal(*names: str) -> str:
    with pytest.raises(PluginError) as caught:
        plugins.load_plugins(names)
    return caught.value.message


ROUTER = "@hookimpl\ndef route(query):\n    return {!r}\n"


def test_the_first_named_is_asked_first(install):
    """`--plugins a,b` and `--plugins b,a` differ in who answers."""
    install("alpha", ROUTER.format("alpha"))
    install("beta", ROUTER.format("beta"))
    for order in (("alpha", "beta"), ("beta", "alpha")):
        manager = plugins.load_plugins(order)
        assert manager.hook.route(session=None, query=None) == order[0]


def test_a_plugin_that_is_not_named_has_no_say(install):
    """Installing a plugin does not turn it on."""
    install("alpha", ROUTER.format("alpha"))
    assert plugins.load_plugins(()).hook.route(session=None, query=None) is None


def test_an_unknown_plugin_is_named_with_the_nearest_one(install):
    """A typing error in --plugins is told with what was meant."""
    install("audit", "")
    assert refusal("audti") == 'unknown plugin "audti"; did you mean "audit"?'


def test_a_plugin_named_twice(install):
    """A plugin cannot be asked twice for one query."""
    install("audit", "")
    assert refusal("audit", "audit") == 'plugin "audit" is named twice'


def test_two_distributions_with_one_name(install):
    """Which of two plugins of one name would run is not left to chance."""
    install("audit", "", "pgbeam-audit")
    install("audit", "", "other-audit")
    assert refusal("audit") == 'plugin "audit" is provided by other-audit and pgbeam-audit: uninstall one of them'


def test_a_plugin_that_cannot_be_imported(install):
    """The plugin, where it comes from, the reason and the line are named."""
    module = install("audit", "import no_such_library_anywhere")
    told = refusal("audit")
    assert told.startswith(
        f'plugin "audit" ({module}, from pgbeam-audit) cannot be loaded: '
        "ModuleNotFoundError: No module named 'no_such_library_anywhere' ("
    )
    assert told.endswith(f"{module}.py:2)")


def test_a_misspelt_hook(install):
    """A hook that would never be called is an error, with the nearest one that exists."""
    install("audit", "@hookimpl\ndef rout(query): ...\n")
    assert refusal("audit") == 'plugin "audit": there is no hook rout; did you mean "route"?'


def test_a_misspelt_argument(install):
    """An argument that a hook does not have is an error, with the nearest one that it has."""
    install("audit", "@hookimpl\ndef route(sesion): ...\n")
    assert refusal("audit") == 'plugin "audit": hook route has no argument sesion; did you mean "session"?'


def test_an_async_hook(install):
    """A coroutine that nobody awaits would be no answer at all."""
    install("audit", "@hookimpl\nasync def execute(query): ...\n")
    assert refusal("audit") == 'plugin "audit": hook execute must not be async def; return a Deferred instead'


@pytest.mark.parametrize(("batch", "single"), [("execute_batch", "execute"), ("result_batch", "result")])
def test_a_hook_for_batches_needs_the_one_for_a_single_execution(install, batch, single):
    """A limit or a log that sees pipelines only would pass over every other query: it is refused before it does."""
    alone = f"@hookimpl\ndef {batch}(queries): ...\n"
    install("audit", alone)
    refused = (
        f'plugin "audit": hook {batch} needs hook {single} beside it, '
        "which is called where a request has but one execution"
    )
    assert refusal("audit") == refused
    assert [info.error for info in plugins.available() if info.name == "audit"] == [refused]
    other = "result" if single == "execute" else "execute"
    install("other", f"{alone}@hookimpl\ndef {other}(query): ...\n")
    assert refusal("other") == refused.replace("audit", "other")
    install("whole", f"{alone}@hookimpl\ndef {single}(query): ...\n")
    assert plugins.load_plugins(("whole",)).has_plugin("whole")


def test_what_is_installed_is_listed_with_its_hooks(install):
    """`pgbeam plugins` shows name, version, where from and hooks, broken ones with the reason."""
    module = install("audit", "@hookimpl\ndef result(query): ...\n@hookimpl\ndef route(query): ...\n")
    install("broken", "1 / 0")
    found = {info.name: info for info in plugins.available()}
    assert found["audit"] == plugins.PluginInfo("audit", "1.2", "pgbeam-audit", module, ("route", "result"))
    assert "ZeroDivisionError" in (found["broken"].error or "")
    assert {"audit", "broken"} <= set(plugins.installed())


def test_settings_classes_are_collected(install):
    """Each plugin declares its settings; one without has none; something else is refused."""
    install(
        "audit",
        """
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class Audit:
            path: str = "x"
        @hookimpl
        def settings_spec():
            return Audit
        """,
    )
    install("plain", "")
    install("odd", "@hookimpl\ndef settings_spec():\n    return dict\n")
    specs = plugins.specs(plugins.load_plugins(("plain", "audit")))
    assert list(specs) == ["audit"]
    assert specs["audit"]().path == "x"
    with pytest.raises(PluginError, match='plugin "odd": settings_spec must give a dataclass'):
        plugins.specs(plugins.load_plugins(("odd",)))
