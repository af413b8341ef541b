"""Lets in who has the token or an operator's password, and does not let them be guessed."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core.net.operator_login import NOT_ASKED, REQUEST
from pgbeam_core.web.bodies import object_of
from pgbeam_core.web.parameters import only
from pgbeam_core.web.replies import HttpReply, HttpRequest, Refused, as_json
from pgbeam_core.web.sessions import BASIC_S, SESSION_S, Sessions
from pgbeam_core.web.source import Source, ask
from pgbeam_core.web.throttle import LoginThrottle

log = Logger(__name__)

_ABOUT_WHO = (401, 403)
_OWN_PAGE = ("same-origin", "none")
_HINT = "Send the header `Authorization: Bearer TOKEN` with the dashboard_token, or with what POST /v1/login gives."


class WebEntrance:
    """Tokens and passwords come in a header that no form and no foreign page can send: there is nothing to forge."""

    def __init__(self, source: Source, neighbourhood: Callable[[str], str]) -> None:
        self._source = source
        self._token = (source.settings.dashboard_token or "").encode()
        self._throttle = LoginThrottle(source.reactor.seconds, neighbourhood)
        self._sessions = Sessions(source.reactor.seconds)

    def admit(self, request: HttpRequest) -> HttpRequest | Deferred[HttpRequest]:
        """The request with who sends it. Raises Refused, or fails with it: 401 without, 429 after too many tries."""
        self._throttle.check(request.address)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip()
        if scheme.lower() == "bearer":
            return self._by_token(request, given)
        if scheme.lower() == "basic":
            return self._by_basic(request, given)
        raise _unauthorized("a token is needed", _HINT)

    def _by_token(self, request: HttpRequest, given: str) -> HttpRequest:
        right = hmac.compare_digest(given.encode("utf-8", "replace"), self._token)
        if right and self._token:
            return replace(request, by="the token", may_order=True)
        user = self._sessions.of(given)
        if user is None:
            self._throttle.failed(request.address)
            raise _unauthorized("wrong token", None)
        return self._as(request, user)

    def _by_basic(self, request: HttpRequest, given: str) -> HttpRequest | Deferred[HttpRequest]:
        """Browsers send what they were told once with the requests of other sites, too; those are not let in."""
        if request.headers.get("sec-fetch-site", "none") not in _OWN_PAGE:
            raise Refused(403, "another site's page may not use this password")
        known = self._sessions.of(f"basic {given}")
        if known is not None:
            return self._as(request, known)
        user, password = _parts(given)

        def checked(_: str) -> HttpRequest:
            self._sessions.keep(f"basic {given}", user, BASIC_S)
            return self._as(request, user)

        return self._check(request, user, password).addCallback(checked)

    def _as(self, request: HttpRequest, user: str) -> HttpRequest:
        """If the settings of now still name that user."""
        settings = self._source.settings
        if user in settings.admin_users:
            return replace(request, by=user, may_order=True)
        if user in settings.stats_users:
            return replace(request, by=user, may_order=False)
        raise _unauthorized(f'user "{user}" may not use the dashboard any more', None)

    def _check(self, request: HttpRequest, user: str, password: str) -> Deferred[str]:
        """It counts as wrong until it is known to be right: many at once are no way around the throttle."""
        address = request.address
        self._throttle.failed(address)
        asked = ask(self._source, REQUEST, user=user, password=password, address=address)

        def wrong(failure: Any) -> Any:
            error = failure.value
            if not isinstance(error, Refused) or error.status not in _ABOUT_WHO:
                self._throttle.forgive(address)
                return failure
            log.info("dashboard: {user} from {address} is not let in", user=user[:64], address=address)
            if error.message == NOT_ASKED:
                raise _unauthorized(NOT_ASKED, "Where that is so, only dashboard_token lets people in.")
            raise _unauthorized("wrong user or password", None)

        def right(kind: str) -> str:
            self._throttle.forgive(address)
            log.info("dashboard: {user} from {address} is in", user=user, address=address)
            return kind

        return asked.addCallbacks(right, wrong)

    # The addresses of its own.

    def log_in(self, request: HttpRequest) -> Deferred[HttpReply]:
        """A token for the user and password in the body; it holds for some hours."""
        only(request)
        self._throttle.check(request.address)
        given = object_of(request, ("user", "password"), '{"user": "alice", "password": "…"}')
        user, password = given.get("user"), given.get("password")
        if not isinstance(user, str) or not isinstance(password, str):
            raise Refused(400, "user and password are texts")

        def told(kind: str) -> HttpReply:
            write = kind == "admin" and self._source.settings.dashboard_write
            token = self._sessions.make(user)
            return as_json({"token": token, "user": user, "write": write, "expires_s": int(SESSION_S)})

        return self._check(request, user, password).addCallback(told)

    def log_out(self, request: HttpRequest) -> HttpReply:
        """The token that comes with the request holds no more; `dashboard_token` goes on to hold."""
        only(request)
        self._sessions.end(request.headers.get("authorization", "").partition(" ")[2].strip())
        return HttpReply(204)


def _parts(given: str) -> tuple[str, str]:
    """Name and password of `Basic`."""
    try:
        user, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        user, colon, password = "", "", ""
    if not (user and colon and password):
        raise _unauthorized("Basic wants a user and a password", _HINT)
    return user, password


def _unauthorized(message: str, hint: str | None) -> Refused:
    return Refused(401, message, hint, WWW_Authenticate="Bearer")
