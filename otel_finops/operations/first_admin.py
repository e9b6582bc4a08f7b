"""The first admin: a service that asks for tokens and knows no admin would be shut to everybody but those with a shell on its machine."""

from __future__ import annotations

from typing import Final

from otel_finops.base.protocols import ANY_TENANT
from otel_finops.identity.principals import Principal
from otel_finops.identity.roles import PERMISSIONS
from otel_finops.operations.context import Context
from otel_finops.operations.registry import invoke
from otel_finops.operations.tokens import NewApiToken, create
from otel_finops.settings.tree import Settings

_NAME: Final = "first admin"
_BY: Final = Principal("first start", None, PERMISSIONS)


def first_admin(settings: Settings, context: Context) -> str | None:
    """Make an admin's token for all tenants where nobody ever had one, to be shown once.

    None where it is not needed: with `auth.mode` off, without the web side or stored tokens, where the settings list such an admin or
    name a host application that may know one, and wherever such a token was ever stored, be it revoked or expired by now.

    Raises:
        Busy, Unavailable: the store's.
    """
    auth = settings.auth
    wanted = auth.mode == "token" and settings.features.tokens and settings.http.address and not auth.resolver
    if not wanted or any(token.role == "admin" and ANY_TENANT in token.tenants for token in auth.tokens):
        return None
    with context.trail.together():
        if not context.tokens.may_make_the_first():
            return None
        given = NewApiToken(name=_NAME, role="admin", tenants=(ANY_TENANT,))
        answer = invoke(create, context, _BY, given, origin="the service's first start")
    return str(answer["secret"])
