"""Who asks, and whether he asks too often: what every route settles before anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from starlette.requests import Request

from otel_finops.base.errors import Unauthenticated
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.otlp.bearer import bearer_token
from otel_finops.surfaces.web.rates import Rates, address_key

Authenticate: TypeAlias = Callable[[str | None], Principal]
Shown: TypeAlias = Callable[[Request], str | None]


class Gate:
    """Lets requests in.

    Args:
        authenticate: a bearer token (None without one) to a principal, raising Unauthenticated.
        rates: how often one principal or address may ask; None for no limit.
        shown: the token that a request shows, None without one.
    """

    def __init__(self, authenticate: Authenticate, rates: Rates | None = None, shown: Shown | None = None) -> None:
        self._authenticate = authenticate
        self._rates = rates
        self._shown = shown or _in_header

    def reading(self, shown: Shown) -> Gate:
        """The same gate for requests that show their token elsewhere; it counts together with this one."""
        return Gate(self._authenticate, self._rates, shown)

    def principal(self, request: Request, *, counted: bool = True) -> Principal:
        """Who asks; may wait for the database or another service, so it is called in a thread.

        Args:
            counted: False where he may ask as often as he makes calls; whoever shows no known token is counted all the same.

        Raises:
            Unauthenticated: a token is needed and this is none that is known.
            TooManyRequests: too many requests of this principal, or too many of this address that showed no known token.
        """
        try:
            principal = self._authenticate(self._shown(request))
        except Unauthenticated:
            self.stranger(request)
            raise
        request.state.who = principal.who
        if not counted:
            return principal
        if principal is LOCAL:
            self.stranger(request)
        elif self._rates is not None:
            self._rates.take(f"as {principal.who} of {principal.tenants}")
        return principal

    def still(self, request: Request, principal: Principal) -> None:
        """Ask once more, for answers that take long; it counts as no request.

        Raises:
            Unauthenticated: the token that was shown has been revoked, has expired, or stands for something else by now.
            Busy, Unavailable: that cannot be told.
        """
        now = self._authenticate(self._shown(request))
        if now._replace(until_ns=principal.until_ns) != principal:  # a token that was rotated holds for a while yet
            raise Unauthenticated("This token stands for something else by now; ask again.")

    def stranger(self, request: Request) -> None:
        """Count a request by its address; raises TooManyRequests."""
        if self._rates is not None:
            self._rates.take(address_key(request.client.host if request.client else ""))


def _in_header(request: Request) -> str | None:
    """The token; None where several are shown: a proxy in between may have looked at another one than we would."""
    shown = request.headers.getlist("authorization")
    return bearer_token(shown[0]) if len(shown) == 1 else None
