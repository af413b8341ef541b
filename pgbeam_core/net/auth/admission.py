"""A client's admission: steps that wait for the client, for servers, or for nothing, with one end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Identity, Lease
from pgbeam_core.net.auth.exchange import LoginExchange
from pgbeam_core.net.greeting import Greeting


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
    def with_server(cls, lease: Lease) -> Admitted:
        """With a server that was opened for it, or was free."""
        server: Any = lease.server
        notices = [*server.greeting]
        server.greeting.clear()
        return cls(server.identity, Greeting(server.parameters_at_login), lease, notices)


class LoginSteps:
    """Of one client. Each step ends with the next one, with waiting for what leads to it, with `_enter` or `_fail`.

    Plain calls and no coroutine: clients come by the thousand a second.
    """

    def __init__(self, exchange: LoginExchange) -> None:
        self._exchange = exchange
        self._outcome: Deferred[Any] | None = Deferred(self._leave)
        """Until it has fired: each knows the other, and nothing is to wait for a collector of garbage."""
        self._pending: Deferred[Any] | None = None

    @property
    def _over(self) -> bool:
        return self._outcome is None

    def _begun(self, step: Callable[[], None]) -> Deferred[Any]:
        """Take the first step; what this gives is told the end, perhaps at once."""
        outcome = self._outcome
        assert outcome is not None
        self._attempt(step)
        return outcome

    def _attempt(self, step: Callable[[], None]) -> None:
        """Take a step; what it raises is the end."""
        try:
            step()
        except Exception as error:
            self._fail(Failure(error))

    def _wait(
        self,
        pending: Deferred[Any],
        then: Callable[[Any], None],
        failed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Go on with what that gives. `failed` is asked about its failure, if it is another step."""
        self._pending = pending

        def given(result: Any) -> None:
            self._pending = None
            if not self._over:
                self._attempt(lambda: then(result))

        def not_given(failure: Failure) -> None:
            self._pending = None
            if failed is None:
                self._fail(failure)
            elif not self._over:
                self._attempt(lambda: failed(failure))

        pending.addCallbacks(given, not_given)

    def _leave(self, _outcome: Deferred[Any]) -> None:
        self._outcome = None
        self._exchange.forget()
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()

    def _fail(self, failure: Failure) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            outcome.errback(failure)

    def _enter(self, admission: Any) -> None:
        """The client is in; what it is told stands in the admission."""
        outcome, self._outcome = self._outcome, None
        assert outcome is not None
        outcome.callback(admission)
