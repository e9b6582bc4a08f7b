"""Who uses an operation, whose data he may see, and what he may do with it."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_finops.base.errors import Forbidden, NotFound, Unauthenticated
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.identity.roles import PERMISSIONS, ROLES, Permission
from otel_finops.identity.tokens import TokenTable
from otel_finops.settings.tree import ApiToken, Auth


class Principal(NamedTuple):
    """Someone who uses operations.

    Attributes:
        who: a name for the audit trail.
        tenants: whose data he may see; None for all.
        permissions: what he may do.
    """

    who: str
    tenants: tuple[str, ...] | None
    permissions: frozenset[Permission]

    def may(self, permission: Permission) -> bool:
        """Whether his role has this permission."""
        return permission in self.permissions

    def sees(self, tenant: str) -> bool:
        """Whether this tenant's data is his to see."""
        return self.tenants is None or tenant in self.tenants

    def must_see(self, tenant: str) -> None:
        """Refuse a tenant that is not his to see, `*` included; the refusal does not tell whether there is such a tenant.

        Raises:
            NotFound: he sees others only.
        """
        if not self.sees(tenant):
            raise NotFound("There is no such tenant for this token.")

    def must_see_all(self, what: str) -> None:
        """Refuse what concerns the whole service to those who see some tenants only.

        Args:
            what: the operation, and why it concerns all: `periods.close closes the months of all tenants`.

        Raises:
            Forbidden: he is bound to tenants.
        """
        if self.tenants is not None:
            raise Forbidden(f"{what}; it needs a token for all tenants.")


LOCAL: Final = Principal("local", None, PERMISSIONS)
"""Whoever runs a command on the machine, where the database's own access rights decide; and everyone with `auth.mode` off."""


class SettingsPrincipals:
    """Principals by the API tokens of the settings."""

    def __init__(self, auth: Auth) -> None:
        self._open = auth.mode == "off"
        self._tokens = TokenTable(auth.tokens)

    def __call__(self, token: str | None, /) -> Principal:
        """The bearer; with `auth.mode` off everyone is admin of all tenants.

        Raises:
            Unauthenticated: no token, or one that is not known.
        """
        if self._open:
            return LOCAL
        held = self._tokens.find(token) if token else None
        if held is None:
            raise Unauthenticated("Send a known token as `Authorization: Bearer TOKEN`." if not token else "This token is not known.")
        return principal_of(held)


def principal_of(token: ApiToken) -> Principal:
    """The principal for which an API token stands."""
    tenants = None if ANY_TENANT in token.tenants else token.tenants
    return Principal(token.name or f"token {token.token_sha256[:8]}", tenants, ROLES[token.role])
