"""Which realm and tenants a sender's spans may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_finops.base.errors import Forbidden
from otel_finops.base.protocols import ANY_TENANT, DEFAULT_REALM, DEFAULT_TENANT, Credential
from otel_finops.identity.principals import resolved_by, unknown
from otel_finops.identity.roles import ROLES, Permission
from otel_finops.identity.tokens import TokenTable, digest_to_find
from otel_finops.settings.tree import Auth

if TYPE_CHECKING:
    from otel_finops.identity.live import LiveTokens
    from otel_finops.identity.resolver import Resolved, Resolver

SENDS: Final[frozenset[Permission]] = frozenset(("ingest",))
"""What sending spans takes."""


class Senders:
    """`SenderAuth` over the tokens of the settings, the stored ones, and the credentials of a host application.

    With `auth.mode` off no token is needed and any tenant may be named, but a token that is known still binds its realm and
    tenants. With `token`, no token and an unknown token are refused.

    Args:
        auth: the settings.
        live: the stored tokens; None where they are switched off.
        resolver: asks the host application; None where there is none.
    """

    def __init__(self, auth: Auth, live: LiveTokens | None = None, resolver: Resolver | None = None) -> None:
        self._required = auth.mode == "token"
        self._senders = TokenTable(auth.senders)
        self._live = live
        self._resolver = resolver

    def __call__(self, token: str | None, /) -> Credential:
        """The credential of the bearer.

        Raises:
            Unauthenticated: a token is required and this is none of ours, or it has expired.
            Forbidden: a host application's credential that may not send spans.
            Busy, Unavailable: the host application cannot be asked now.
        """
        digest = digest_to_find(token)
        if token is not None and digest is not None:
            if (held := self._senders.find(digest)) is not None:
                return credential_of(held.tenants)
            if self._live is not None and (stored := self._live.find("sender", digest)) is not None:
                return credential_of(stored.said.tenants)
            if self._required and (resolved := resolved_by(self._resolver, token)) is not None:
                return _resolved_credential(resolved)
        if self._required:
            raise unknown(token, "sender")
        return Credential()


def credential_of(tenants: tuple[str, ...]) -> Credential:
    """One tenant makes its own realm; several, or any, share the default realm."""
    single = len(tenants) == 1 and tenants[0] != ANY_TENANT
    return Credential(tenants[0] if single else DEFAULT_REALM, tenants)


def _resolved_credential(resolved: Resolved) -> Credential:
    if not ROLES[resolved.role] >= SENDS:
        raise Forbidden(f"the role {resolved.role} may not send spans")
    if DEFAULT_TENANT in resolved.tenants:
        raise Forbidden(f"the tenant {DEFAULT_TENANT!r} is what spans without a tenant get; nobody sends as it")
    return credential_of(resolved.tenants)
