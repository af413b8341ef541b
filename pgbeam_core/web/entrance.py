"""Lets in who has the token, and does not let it be guessed."""

from __future__ import annotations

import hmac
from collections import OrderedDict, deque
from collections.abc import Callable

from pgbeam_core.web.replies import HttpRequest, Refused

MOST_FAILURES = 10
"""Wrong tokens of one address within WINDOW_S; after that it has to wait, whatever it brings."""
WINDOW_S = 60.0
MOST_ADDRESSES = 1_000
"""Addresses whose failures are remembered; beyond that those of all others count together."""
_EVERYBODY = ""
_SCHEME = "bearer "


class TokenCheck:
    """The token comes in a header that no form and no foreign page can send, so there is nothing to be forged."""

    def __init__(self, token: str, now: Callable[[], float], neighbourhood: Callable[[str], str]) -> None:
        self._token = token.encode()
        self._now = now
        self._neighbourhood = neighbourhood
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, request: HttpRequest) -> None:
        """Raises Refused: 401 without the token, 429 after too many wrong ones."""
        address = self._address(request)
        failures = self._failed.get(address)
        if failures is not None:
            self._forget_old(address, failures)
            if len(failures) >= MOST_FAILURES:
                wait = str(max(1, int(failures[0] + WINDOW_S - self._now()) + 1))
                raise Refused(429, "too many wrong tokens from this address", f"Wait {wait} s.", Retry_After=wait)
        given = request.headers.get("authorization", "")
        if given[: len(_SCHEME)].lower() == _SCHEME:
            token = given[len(_SCHEME) :].strip().encode("utf-8", "replace")
            if hmac.compare_digest(token, self._token):
                return
            self._failed.setdefault(address, deque()).append(self._now())
            raise Refused(401, "wrong token", WWW_Authenticate="Bearer")
        hint = "Send the header `Authorization: Bearer TOKEN` with the dashboard_token."
        raise Refused(401, "a token is needed", hint, WWW_Authenticate="Bearer")

    def _address(self, request: HttpRequest) -> str:
        """Where failures are counted; no more addresses are remembered than there is room for."""
        address = self._neighbourhood(request.address)
        if address in self._failed or len(self._failed) < MOST_ADDRESSES:
            return address
        oldest, failures = next(iter(self._failed.items()))
        self._forget_old(oldest, failures)
        return address if len(self._failed) < MOST_ADDRESSES else _EVERYBODY

    def _forget_old(self, address: str, failures: deque[float]) -> None:
        while failures and failures[0] <= self._now() - WINDOW_S:
            failures.popleft()
        if not failures:
            self._failed.pop(address, None)
