"""One client's login: who it is, then either a server to begin with or what is known of the last one.

Who has proven itself to PgBeam needs no server before its first query, as long as a server has lately let the same user
in with the same credentials: see `Identities`. Where that is too long ago, one server is opened for all who wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Lease
from pgbeam_core.catalog.identities import named
from pgbeam_core.errors import IdentityChanged, PasswordNeeded, PgBeamError, ServerRefused
from pgbeam_core.internal.keyring import Learned
from pgbeam_core.net.auth.admission import Admitted, LoginSteps
from pgbeam_core.net.auth.certificates import names_of
from pgbeam_core.net.auth.checks import Check, Md5Check, ScramCheck, WrongPassword
from pgbeam_core.net.auth.exchange import LoginExchange, RelayedLogin
from pgbeam_core.net.auth.passwords import AskedPassword
from pgbeam_core.net.auth.user_map import may_be
from pgbeam_core.net.channel import Channel
from pgbeam_core.wire.scram import Verifier
from pgbeam_core.wire.secrets import Md5Hash, Secret

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.session.session import Session

log = Logger(__name__)

_TRIES = 5
"""Whose names come to mean others again and again meanwhile opens a server of its own in the end."""


class Login(LoginSteps):
    """Of one client. Cancelling what `begin` gives is leaving."""

    def __init__(self, beam: Beam, session: Session, channel: Channel, exchange: LoginExchange) -> None:
        super().__init__(exchange)
        self._beam = beam
        self._session = session
        self._project = session.project
        self._channel = channel
        self._pool = beam.pool(session.project.primary)
        self._tries = 0
        self._proven: Callable[[Check], None] = _nobody
        self._unproven: Callable[[WrongPassword], None] | None = None
        self._known: Check | None = None
        """How it has proven itself where the server has not been asked yet."""

    def begin(self) -> Deferred[Admitted]:
        """Find out who it is, and admit it. Fails with PgBeamError."""
        how = self._project.auth
        if how == "scram":
            return self._begun(self._scram)
        if how == "passthrough":
            return self._begun(self._passthrough)
        if how == "peer":
            return self._begun(self._peer)
        if how == "cert":
            return self._begun(self._cert)
        return self._begun(self._trust)

    # Who it is.

    def _trust(self) -> None:
        self._exchange.accepted()
        self._admit()

    def _peer(self) -> None:
        user = self._session.user
        known_as = self._channel.system_user
        if known_as is None or not may_be(known_as, user, self._project.logins.user_map):
            log.info("peer authentication failed for {user}: it is {who}", user=user, who=known_as or "not local")
            raise PgBeamError(f'Peer authentication failed for user "{user}"', sqlstate="28000")
        self._trust()

    def _cert(self) -> None:
        user, certificate = self._session.user, self._channel.certificate
        if certificate is None:
            raise PgBeamError("connection requires a valid client certificate", sqlstate="28000")
        user_map = self._project.logins.user_map
        names = names_of(certificate)
        if not any(may_be(name, user, user_map) for name in names):
            log.info("certificate authentication failed for {user}: it is of {names}", user=user, names=names)
            raise PgBeamError(f'certificate authentication failed for user "{user}"', sqlstate="28000")
        self._trust()

    def _scram(self) -> None:
        """Against a list of users, or what auth_query gives."""
        found = self._beam.authority.secrets.lookup(self._project, self._session.user)
        if isinstance(found, Deferred):
            self._wait(found, self._by_secret)
        else:
            self._by_secret(found)

    def _by_secret(self, secret: Secret | None) -> None:
        session, secrets = self._session, self._beam.authority.secrets
        if secret is None:
            secret = secrets.of_nobody(self._project, session.user)
        check: Check
        if isinstance(secret, Md5Hash):
            check = Md5Check(session.user, secret, self._beam.random)
        else:
            check = self._scram_check(session.user, secrets.verifier(self._project, session.user, secret))
        learns = session.user == session.identity.user and isinstance(secret, Verifier | Md5Hash)
        self._check(check, self._listed_and_learned if learns else self._listed)

    def _scram_check(self, user: str, secret: Verifier) -> Check:
        return ScramCheck(user, secret, self._beam.random, self._channel.server_certificate)

    def _check(
        self,
        check: Check,
        proven: Callable[[Check], None],
        unproven: Callable[[WrongPassword], None] | None = None,
    ) -> None:
        """Have the client prove itself. `unproven`: what to do if it cannot; else that is the end."""
        self._proven, self._unproven = proven, unproven
        self._challenge(check, check.challenge())

    def _challenge(self, check: Check, frame: bytes) -> None:
        self._exchange.put(frame, lambda answer: self._heard(check, answer))

    def _heard(self, check: Check, answer: bytes) -> None:
        try:
            another = check.answered(answer)
            if another is not None:
                self._challenge(check, another)
            else:
                proven, self._proven, self._unproven = self._proven, _nobody, None
                proven(check)
        except WrongPassword as error:
            self._not_proven(error)
        except Exception as problem:  # under a name of its own: compiled, a name has one type
            self._fail(Failure(problem))

    def _not_proven(self, error: WrongPassword) -> None:
        unproven, self._proven, self._unproven = self._unproven, _nobody, None
        if unproven is None:
            self._fail(Failure(error))
        else:
            self._attempt(lambda: unproven(error))

    def _listed_and_learned(self, check: Check) -> None:
        keys = check.keys
        if keys is not None:
            self._learn(keys)
        self._listed(check)

    def _listed(self, check: Check) -> None:
        if check.final:
            self._exchange.say(check.final)
        self._trust()

    def _learn(self, keys: Learned) -> None:
        self._beam.authority.secrets.learn(self._project, self._session.identity.user, keys)

    # Where PostgreSQL decides.

    def _passthrough(self) -> None:
        """By what an earlier login has taught, if that holds; else by a server."""
        known = self._beam.authority.secrets.keyring.of(self._project.name, self._session.identity.user)
        if known is None:
            self._by_server()
        else:
            self._check(self._check_of(known), self._admit_known, self._doubt)

    def _check_of(self, known: Learned) -> Check:
        user = self._session.identity.user
        if isinstance(known, Md5Hash):
            return Md5Check(user, known, self._beam.random)
        return self._scram_check(user, Verifier(known.iterations, known.salt, known.stored_key, known.server_key))

    def _admit_known(self, check: Check) -> None:
        self._known = check
        self._admit()

    def _doubt(self, error: WrongPassword) -> None:
        """The client against what PgBeam knows. If that does not hold any more, the client may know better."""
        if not self._channel.encrypted:
            # It cannot be asked again; but the next one is not to be checked against what is of no use.
            self._still_holds(lambda _: self._fail(Failure(error)))
            return
        self._still_holds(lambda holds: self._fail(Failure(error)) if holds else self._by_server())

    def _still_holds(self, then: Callable[[bool], None]) -> None:
        """Whether the server takes what PgBeam knows."""

        def opened(lease: Lease) -> None:
            server: Any = lease.server
            server.greeting.clear()
            lease.release()
            then(True)

        def refused(failure: Failure) -> None:
            error = failure.value
            if not isinstance(error, PgBeamError):
                self._fail(failure)
            elif isinstance(error, PasswordNeeded | ServerRefused):
                then(not error.sqlstate.startswith("28"))
            else:
                then(True)

        self._wait(self._pool.login(self._session, self._relay()), opened, refused)

    def _by_server(self) -> None:
        user = self._session.identity.user
        relay: RelayedLogin | AskedPassword = RelayedLogin(self._exchange)
        if self._channel.encrypted:
            relay = AskedPassword(self._exchange, user, self._beam.random, self._learn)
        self._known = None
        self._wait(self._pool.login(self._session, relay), self._leased)

    # A place.

    def _enter(self, admission: Any) -> None:
        known, self._known = self._known, None
        if known is not None:
            if known.final:
                self._exchange.say(known.final)
            self._exchange.accepted()
        super()._enter(admission)

    def _relay(self) -> Any:
        """What PgBeam logs in with in the client's name."""
        project = self._project
        return self._beam.authority.secrets.relay(project, project.primary, self._session.identity.user)

    def _admit(self) -> None:
        """The client is who it says. Gives what is known, or a server: one of its role's, if it is known which."""
        beam, session, primary = self._beam, self._session, self._project.primary
        while self._tries < _TRIES:
            self._tries += 1
            found = beam.authority.identities.of(primary, session.identity)
            if found is None:
                others = beam.authority.dials.of(primary, session.identity)
                if others is None:
                    break
                self._wait(others, lambda _: self._admit(), self._not_opened)
                return
            session.identity = found
            greeting = None if session.keeps_server else beam.authority.greetings.of(primary, found)
            if greeting is not None:
                self._enter(Admitted(found, greeting))
                return
            got = self._pool.lease(found, session.settings.now)
            if isinstance(got, Deferred):
                self._wait(got, self._leased, self._not_leased)
            else:
                self._leased(got)
            return
        opened = beam.authority.dials.open(primary, session.identity, lambda: self._pool.login(session, self._relay()))
        self._wait(opened, self._dialled, self._not_opened)

    def _dialled(self, lease: Lease | None) -> None:
        if lease is None:
            self._admit()
        else:
            self._leased(lease)

    def _leased(self, lease: Lease) -> None:
        self._enter(Admitted.with_server(lease))

    def _not_leased(self, failure: Failure) -> None:
        if isinstance(failure.value, IdentityChanged):
            self._session.identity = named(self._session.identity)
            self._admit()
        else:
            self._not_opened(failure)

    def _not_opened(self, failure: Failure) -> None:
        if not isinstance(failure.value, PasswordNeeded) or self._known is None:
            self._fail(failure)
        elif self._channel.encrypted:  # the client knows what the server does not take any more
            self._by_server()
        else:
            self._fail(Failure(WrongPassword(self._session.user)))


def _nobody(_check: Check) -> None:
    """Stands there until a client has been asked to prove itself."""
