"""Calls hooks: order, isolation, counting. The only place that knows how."""

from pgbeam_core.firing.hooks import Hooks, PluginRaised

__all__ = ["Hooks", "PluginRaised"]
