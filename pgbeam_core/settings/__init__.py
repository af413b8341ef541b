"""Settings: settings.toml, .secrets.toml, the environment and `--set`, validated once into frozen dataclasses."""

from __future__ import annotations

from pgbeam_core.settings.build import build
from pgbeam_core.settings.changes import reloaded
from pgbeam_core.settings.differences import differences
from pgbeam_core.settings.load import apply_project, beside_plugins, core_settings, layers, load, plugin_order, validate
from pgbeam_core.settings.model import Alias, Core, Endpoint, Project, Settings, Tls, by_name_and_class
from pgbeam_core.settings.show import to_toml
from pgbeam_core.settings.sources import Merged
from pgbeam_core.settings.tree import as_tree, from_tree
from pgbeam_core.settings.urls import parse_endpoint, parse_upstream
from pgbeam_core.settings.where import Where

__all__ = [
    "Alias",
    "Core",
    "Endpoint",
    "Merged",
    "Project",
    "Settings",
    "Tls",
    "Where",
    "apply_project",
    "as_tree",
    "beside_plugins",
    "build",
    "by_name_and_class",
    "core_settings",
    "differences",
    "from_tree",
    "layers",
    "load",
    "parse_endpoint",
    "parse_upstream",
    "plugin_order",
    "reloaded",
    "to_toml",
    "validate",
]
