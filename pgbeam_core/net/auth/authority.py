"""What all logins of a PgBeam share: what is known of users, and of the servers that have let them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pgbeam_core.api.query import Target
from pgbeam_core.catalog.identities import Identities
from pgbeam_core.catalog.isolation import Isolation
from pgbeam_core.errors import ServerUnavailable
from pgbeam_core.internal.credentials import StoredSecret
from pgbeam_core.net.auth.dials import Dials
from pgbeam_core.net.auth.kept import kept_secret
from pgbeam_core.net.auth.secrets import Secrets
from pgbeam_core.net.greeting import Greetings
from pgbeam_core.net.opening import ServerOpener
from pgbeam_core.wire.message import raw
from pgbeam_core.wire.secrets import Password

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.settings import Project, Settings


class Authority:
    """`project_of` gives the project of a target."""

    def __init__(self, beam: Beam, project_of: Callable[[Target], Project]) -> None:
        reactor: Any = beam.reactor
        self.identities = Identities(beam.now, lambda: beam.definitions)
        """Which roles and databases names stand for."""
        self.greetings = Greetings()
        self.dials = Dials(beam.later)
        self.secrets = Secrets(beam.opener, beam.random, reactor, self.identities.doubt)
        self._beam = beam
        self._project_of = project_of

    def keep_secret(self) -> None:
        """Have salts of users that there are not outlive this process, and be those of the other workers."""
        self.secrets.mock = kept_secret(self._beam.settings.state_dir, self._beam.random)

    def relay(self, target: Target, user: str, password: str | None = None) -> StoredSecret:
        """Logs in to a server of that target as that user: with this password, else with what PgBeam has."""
        if password is None:
            try:
                project = self._project_of(target)
            except ServerUnavailable:  # it is in no settings: nothing is known of its users
                return StoredSecret(user, lambda: None, self._beam.random)
            return self.secrets.relay(project, target, user)
        given = Password(raw(password))
        return StoredSecret(user, lambda: given, self._beam.random)

    def opener(
        self, target: Target, settings: Settings, isolation: Isolation, *, at: Target | None = None
    ) -> ServerOpener:
        """Opens servers of a target, at one of its hosts. Where no client answers their challenges, PgBeam does."""
        return ServerOpener(
            self._beam.reactor,
            target,
            prepared_limit=settings.max_prepared_statements,
            identities=self.identities,
            isolation=isolation,
            greetings=self.greetings,
            credentials=lambda identity: self.relay(target, identity.user),
            at=at,
            known=lambda identity: self.dials.known(target, identity),
            timeout=settings.connect_timeout_s,
            user_timeout=settings.tcp_user_timeout_s,
        )
