"""What plugins have against a client once it is known who it is."""

from __future__ import annotations

from pgbeam_core.api.results import Refusal
from pgbeam_core.firing import Hooks, PluginRaised
from pgbeam_core.session.dispatch import broken
from pgbeam_core.session.session import Session


def turned_away(hooks: Hooks, session: Session) -> Refusal | None:
    """The first refusal of those that `authenticated` gives; all plugins are asked."""
    found: Refusal | None = None
    try:
        answers = hooks.authenticated(session)
    except PluginRaised as error:
        return broken(error)
    for plugin, answer in answers:
        if not isinstance(answer, Refusal):
            hooks.unfit("authenticated", plugin, answer, "a Refusal or None")
        elif found is None:
            found = answer
    return found
