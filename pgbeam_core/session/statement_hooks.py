"""Fires `template` and `parse`, and remembers which texts a plugin that must not be passed over has failed at.

Such a text is refused when it is executed, not when it is looked up: a text that is only prepared has done nothing yet.
The next execution gives the plugin another chance.
"""

from __future__ import annotations

from pgbeam_core.api.statement import Statement
from pgbeam_core.firing import Hooks, PluginRaised


class StatementHooks:
    """The hooks that are fired once for a text, or for a kind of texts."""

    __slots__ = ("_hooks",)

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def template(self, statement: Statement) -> None:
        """The first text of its kind. If a plugin fails that may not, other texts do not get its notes."""
        if not self._hooks.template.implementations:
            return
        try:
            self._hooks.template(statement)
        except PluginRaised as error:
            statement._unjudged, statement._failed_by = True, error.plugin

    def parse(self, statement: Statement) -> None:
        """A text that was looked up."""
        if statement._failed_by is not None:
            return
        try:
            if statement._unjudged:
                self._hooks.template(statement)
                statement._unjudged = False
            if self._hooks.parse.implementations:
                self._hooks.parse(statement)
            statement._heard = True
        except PluginRaised as error:
            statement._failed_by = error.plugin

    def refused_by(self, statement: Statement) -> str | None:
        """Of a text that is about to be executed, and that not all plugins have heard of: who keeps it from that."""
        self.parse(statement)
        plugin, statement._failed_by = statement._failed_by, None
        return plugin
