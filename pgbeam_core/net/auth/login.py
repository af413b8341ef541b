"""One client's login: who it is, then either a server to begin with or what is known of the last one.

Who has proven itself to PgBeam needs no server before its first query, as long as a server has lately let the same user
in with the same credentials: see `Identities`. Where that is too long ago, one server is opened for all who wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from pgbeam_core.api.pool import Identity, Lease
from pgbeam_core.catalog.identities import named
from pgbeam_core.errors import IdentityChanged, PasswordNeeded, PgBeamError, ServerRefused
from pgbeam_core.internal.keyring import Learned
from pgbeam_core.net.auth.certificates import names_of
from pgbeam_core.net.auth.checks import WrongPassword, check_md5, check_scram
from pgbeam_core.net.auth.exchange import LoginExchange, RelayedLogin
from pgbeam_core.net.auth.passwords import AskedPassword
from pgbeam_core.net.auth.user_map import may_be
from pgbeam_core.net.channel import Channel
from pgbeam_core.net.greeting import Greeting
from pgbeam_core.wire.scram import ScramKeys, Verifier
from pgbeam_core.wire.secrets import Md5Hash

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.session.session import Session

log = Logger(__name__)

_TRIES = 5
"""Whose names come to mean others again and again meanwhile opens a server of its own in the end."""


@dataclass(frozen=True)
class Admitted:
    """A client is in, and this is what it is told."""

    identity: Identity
    greeting: Greeting
    lease: Lease | None = None
    """The server that it begins with; None where it needs none yet."""
    notices: list[bytes] = field(default_factory=list)
    """What the server said beside its parameters."""

    @classmethod
    def on(cls, lease: Lease) -> Admitted:
        """With a server that was opened for it, or was free."""
        server: Any = lease.server
        notices = [*server.greeting]
        server.greeting.clear()
        return cls(server.identity, Greeting(server.parameters_at_login), lease, notices)


class Login:
    """Of one client. Cancelling what `begin` gives is leaving."""

    def __init__(self, beam: Beam, session: Session, channel: Channel, exchange: LoginExchange) -> None:
        self._beam = beam
        self._session = session
        self._project = session.project
        self._channel = channel
        self._exchange = exchange
        self._pool = beam.pool(session.project.primary)

    def begin(self) -> Deferred[Admitted]:
        """Find out who it is, and admit it. Fails with PgBeamError."""
        how = {"passthrough": self._passthrough, "scram": self._scram, "peer": self._peer, "cert": self._cert}
        return how.get(self._project.auth, self._trust)()

    # Who it is.

    @inlineCallbacks
    def _trust(self) -> Any:
        self._exchange.accepted()
        return (yield self._admit())

    @inlineCallbacks
    def _peer(self) -> Any:
        user = self._session.user
        known_as = self._channel.system_user
        if known_as is None or not may_be(known_as, user, self._project.logins.user_map):
            log.info("peer authentication failed for {user}: it is {who}", user=user, who=known_as or "not local")
            raise PgBeamError(f'Peer authentication failed for user "{user}"', sqlstate="28000")
        return (yield self._trust())

    @inlineCallbacks
    def _cert(self) -> Any:
        user, certificate = self._session.user, self._channel.certificate
        if certificate is None:
            raise PgBeamError("connection requires a valid client certificate", sqlstate="28000")
        user_map = self._project.logins.user_map
        names = names_of(certificate)
        if not any(may_be(name, user, user_map) for name in names):
            log.info("certificate authentication failed for {user}: it is of {names}", user=user, names=names)
            raise PgBeamError(f'certificate authentication failed for user "{user}"', sqlstate="28000")
        return (yield self._trust())

    @inlineCallbacks
    def _scram(self) -> Any:
        """Against a list of users, or what auth_query gives."""
        session, secrets = self._session, self._beam.authority.secrets
        secret = yield secrets.lookup(self._project, session.user)
        if isinstance(secret, Md5Hash):
            yield check_md5(self._exchange, session.user, secret, self._beam.random)
            keys: Learned = secret
        else:
            verifier = secrets.verifier(self._project, session.user, secret)
            keys, final = yield check_scram(
                self._exchange, session.user, verifier, self._beam.random, self._channel.server_certificate
            )
            self._exchange.say(final)
        if session.user == session.identity.user and isinstance(secret, Verifier | Md5Hash):
            self._learn(keys)
        self._exchange.accepted()
        return (yield self._admit())

    def _learn(self, keys: Learned) -> None:
        self._beam.authority.secrets.learn(self._project, self._session.identity.user, keys)

    # Where PostgreSQL decides.

    @inlineCallbacks
    def _passthrough(self) -> Any:
        """By what an earlier login has taught, if that holds; else by a server."""
        user = self._session.identity.user
        keyring, name = self._beam.authority.secrets.keyring, self._project.name
        known = keyring.of(name, user)
        if known is not None:
            admission = yield self._known(known)
            if admission is not None:
                return admission
        relay: RelayedLogin | AskedPassword = RelayedLogin(self._exchange)
        if self._channel.encrypted:
            relay = AskedPassword(self._exchange, user, self._beam.random, self._learn)
        lease: Lease = yield self._pool.login(self._session, relay)
        return Admitted.on(lease)

    @inlineCallbacks
    def _known(self, known: Learned) -> Any:
        """The client against what PgBeam knows; None if that does not hold any more, and the server is to be asked."""
        final = b""
        try:
            if isinstance(known, ScramKeys):
                final = yield self._known_scram(known)
            else:
                yield check_md5(self._exchange, self._session.identity.user, known, self._beam.random)
        except WrongPassword:
            if (yield self._still_holds()) or not self._channel.encrypted:
                raise
            return None
        try:
            admission = yield self._admit()
        except PasswordNeeded as error:  # the client knows what the server does not take any more
            if self._channel.encrypted:
                return None
            raise WrongPassword(self._session.user) from error
        self._exchange.say(final)
        self._exchange.accepted()
        return admission

    @inlineCallbacks
    def _known_scram(self, known: ScramKeys) -> Any:
        verifier = Verifier(known.iterations, known.salt, known.stored_key, known.server_key)
        user, certificate = self._session.identity.user, self._channel.server_certificate
        _, final = yield check_scram(self._exchange, user, verifier, self._beam.random, certificate)
        return final

    @inlineCallbacks
    def _still_holds(self) -> Any:
        """Whether the server takes what PgBeam knows. If it was changed there, the client may know better."""
        try:
            lease: Lease = yield self._pool.login(self._session, self._relay())
        except (PasswordNeeded, ServerRefused) as error:
            return not error.sqlstate.startswith("28")
        except PgBeamError:
            return True
        lease.server.greeting.clear()
        lease.release()
        return True

    # A place.

    def _relay(self) -> Any:
        """What PgBeam logs in with in the client's name."""
        project = self._project
        return self._beam.authority.secrets.relay(project, project.primary, self._session.identity.user)

    @inlineCallbacks
    def _admit(self) -> Any:
        """The client is who it says. Gives what is known, or a server: one of its role's, if it is known which."""
        beam, session, primary = self._beam, self._session, self._project.primary
        for _ in range(_TRIES):
            found = beam.authority.identities.of(primary, session.identity)
            if found is None:
                others = beam.authority.dials.of(primary, session.identity)
                if others is None:
                    break
                yield others
                continue
            session.identity = found
            greeting = None if session.keeps_server else beam.authority.greetings.of(primary, found)
            if greeting is not None:
                return Admitted(found, greeting)
            got = self._pool.lease(found, session.settings.now)
            try:
                lease: Lease = (yield got) if isinstance(got, Deferred) else got
            except IdentityChanged:
                session.identity = named(found)
                continue
            return Admitted.on(lease)
        lease = yield beam.authority.dials.open(
            primary, session.identity, lambda: self._pool.login(session, self._relay())
        )
        return Admitted.on(lease)
