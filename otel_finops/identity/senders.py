"""Which realm and tenants a sender's spans may have."""

from __future__ import annotations

from otel_finops.base.errors import Unauthenticated
from otel_finops.base.protocols import ANY_TENANT, DEFAULT_REALM, Credential
from otel_finops.identity.tokens import TokenTable
from otel_finops.settings.tree import Auth, SenderToken


class SettingsSenderAuth:
    """`SenderAuth` over the tokens of the settings.

    With `auth.mode` off no token is needed and any tenant may be named, but a token that is known still binds its realm and
    tenants. With `token`, no token and an unknown token are refused.
    """

    def __init__(self, auth: Auth) -> None:
        self._required = auth.mode == "token"
        self._senders = TokenTable(auth.senders)

    def __call__(self, token: str | None, /) -> Credential:
        """The credential of the bearer.

        Raises:
            Unauthenticated: a token is required and this is none of ours.
        """
        sender = self._senders.find(token) if token else None
        if sender is not None:
            return credential_of(sender)
        if self._required:
            raise Unauthenticated("Send a known token as `Authorization: Bearer TOKEN`." if not token else "This token is not known.")
        return Credential()


def credential_of(sender: SenderToken) -> Credential:
    """One tenant makes its own realm; several, or any, share the default realm."""
    tenants = sender.tenants
    single = len(tenants) == 1 and tenants[0] != ANY_TENANT
    return Credential(tenants[0] if single else DEFAULT_REALM, tenants)
