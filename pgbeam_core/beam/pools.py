"""The pool of each target: asked of the plugins when it is first needed, closed when nobody uses it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgbeam_core.api.pool import Pool
from pgbeam_core.api.query import Target
from pgbeam_core.errors import PluginError, ServerUnavailable

if TYPE_CHECKING:
    from pgbeam_core.beam.beam import Beam
    from pgbeam_core.session.session import Session
    from pgbeam_core.settings import Project

_LEFT = "databases.left"
"""Published: a statement wants nobody in a database."""


class TargetPools:
    """Of one Beam, by target."""

    def __init__(self, beam: Beam) -> None:
        self.by_target: dict[Target, Pool] = {}
        """Those in use."""
        self._beam = beam
        self._leftover: dict[Target, Project] = {}
        """Targets that the settings know no more, and clients still use."""
        beam.broadcast.subscribe(_LEFT, self._left)

    def pool(self, target: Target) -> Pool:
        """The pool of a target. Raises ServerUnavailable where the settings know it no more."""
        pool = self.by_target.get(target)
        if pool is None:
            pool = self.by_target[target] = self._provided(self.project_of(target), target)
            self._beam.console.steering.joins(target, pool)
        return pool

    def project_of(self, target: Target) -> Project:
        """The project as it was set when the target came. Raises ServerUnavailable likewise."""
        project = self._beam.settings.projects.get(target.project)
        if project is None or target not in project.targets:
            project = self._leftover.get(target)
        if project is None:
            raise ServerUnavailable(f"{target.address} is not in the settings any more")
        return project

    def reload(self) -> None:
        """There are other settings. Raises what the `pool` of a plugin raises for a primary that is new."""
        for project in self._beam.settings.projects.values():
            self.pool(project.primary)
        self._put_away()

    def client_gone(self) -> None:
        """It may have been the last one that used a target which the settings know no more."""
        if self._leftover:
            self._put_away()

    def leave(self, session: Session, database: str) -> None:
        """Close the idle servers in a database of the session's project, in all workers."""
        self._left([session.project.name, database])
        self._beam.broadcast.publish(_LEFT, [session.project.name, database])

    def _left(self, what: Any) -> None:
        project, database = what
        for target, pool in self.by_target.items():
            if target.project == project:
                pool.leave(database)

    def _put_away(self) -> None:
        """Close the pools of targets that nobody uses any more."""
        beam, pools = self._beam, self.by_target
        current = {target for project in beam.settings.projects.values() for target in project.targets}
        former = {session.project for session in beam.sessions.values()} - set(beam.settings.projects.values())
        self._leftover = {target: project for project in former for target in project.targets if target not in current}
        for target in [target for target in pools if target not in current and target not in self._leftover]:
            pools.pop(target).close("not in the settings any more")
        beam.upstreams.keep({*current, *self._leftover})

    def _provided(self, project: Project, target: Target) -> Pool:
        hooks = self._beam.hooks
        found = hooks.pool(self._beam, project, target)
        if found is not None:
            pool: Pool = found[1]
            return pool
        failed = sorted({plugin for hook, plugin in hooks.raised if hook == "pool"})
        if failed:
            raise PluginError(f'plugin "{failed[0]}" failed to provide a pool for {target.address}: see the log')
        raise PluginError("no plugin provides pools: add `pool` to the plugins")
