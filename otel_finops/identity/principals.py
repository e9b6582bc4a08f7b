"""Who uses an operation, whose data he may see, and what he may do with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_finops.base.errors import Forbidden, NotFound, Unauthenticated
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import format_ns
from otel_finops.identity.roles import PERMISSIONS, ROLES, Permission
from otel_finops.identity.tokens import MARKS, TokenKind, TokenTable, digest_to_find, looks_like_ours
from otel_finops.settings.tree import ApiToken, Auth, RoleName

if TYPE_CHECKING:  # these load a database toolkit and an HTTP client, which `--help` must not wait for
    from otel_finops.identity.live import LiveTokens
    from otel_finops.identity.resolver import Resolved, Resolver


class Editor(NamedTuple):
    """Who changes what is stored, as the stores below the operations need to know him.

    Attributes:
        who: for the record.
        tenants: whom he sees; None: all.
    """

    who: str
    tenants: Collection[str] | None = None


class Principal(NamedTuple):
    """Someone who uses operations.

    Attributes:
        who: a name for the audit trail.
        tenants: whose data he may see; None for all.
        permissions: what he may do.
        until_ns: when the stored token by which he came expires, nanoseconds; None: never, or nobody here knows.
    """

    who: str
    tenants: tuple[str, ...] | None
    permissions: frozenset[Permission]
    until_ns: int | None = None

    @property
    def editor(self) -> Editor:
        """He, as the record of a change names him."""
        return Editor(self.who, self.tenants)

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

    def covers(self, tenants: Sequence[str]) -> bool:
        """Whether all of these are his to see; `*` stands for all that there are."""
        return all(self.sees(tenant) for tenant in tenants)

    def must_have(self, tenants: Sequence[str], permissions: frozenset[Permission]) -> None:
        """Refuse to hand on more than he has himself.

        Raises:
            NotFound: one of the tenants is not his to see.
            Forbidden: he has not all of the permissions, or sees not all tenants where that is handed on.
        """
        if ANY_TENANT in tenants:
            self.must_see_all("Only who sees all tenants hands that on")
        for tenant in tenants:
            self.must_see(tenant)
        if beyond := sorted(permissions - self.permissions):
            raise Forbidden(f"Nobody hands on more than he has: you have not the permission {', '.join(beyond)}.")

    def must_outlast(self, expires_ns: int | None) -> None:
        """Refuse to hand on for longer than he has it himself: who finds an admin's token would keep what he found for ever.

        Args:
            expires_ns: until when it would hold; None: for ever.

        Raises:
            Forbidden: his own token ends before that.
        """
        if self.until_ns is not None and (expires_ns is None or expires_ns > self.until_ns):
            raise Forbidden(
                f"Nobody hands on for longer than he has: your own token ends at {format_ns(self.until_ns)}. Say `expires` with that "
                "instant or an earlier one, or use a token that holds longer."
            )

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


class Principals:
    """Principals by what a request bears: a token of the settings, a stored one, or a credential of the host application.

    Args:
        auth: the settings; with `mode` off everyone is admin of all tenants.
        live: the stored tokens; None where they are switched off.
        resolver: asks the host application; None where there is none.
    """

    def __init__(self, auth: Auth, live: LiveTokens | None = None, resolver: Resolver | None = None) -> None:
        self._open = auth.mode == "off"
        self._tokens = TokenTable(auth.tokens)
        self._live = live
        self._resolver = resolver

    def __call__(self, token: str | None, /) -> Principal:
        """The bearer. Asking the host application takes time: not to be called where others wait.

        Raises:
            Unauthenticated: no token, or one that is not known or has expired.
            Busy, Unavailable: the host application cannot be asked now.
        """
        if self._open:
            return LOCAL
        digest = digest_to_find(token)
        if token is None or digest is None:
            raise unknown(token, "api")
        if (held := self._tokens.find(digest)) is not None:
            return principal_of(held)
        if self._live is not None and (stored := self._live.find("api", digest)) is not None:
            return _principal(stored.who, stored.said.tenants, stored.said.role or "viewer")._replace(until_ns=stored.said.expires_ns)
        if (resolved := resolved_by(self._resolver, token)) is not None:
            return _principal(resolved.who, resolved.tenants, resolved.role)
        raise unknown(token, "api")


def principal_of(token: ApiToken) -> Principal:
    """The principal for which a token of the settings stands."""
    return _principal(token.name or f"token {token.token_sha256[:8]}", token.tenants, token.role)


def resolved_by(resolver: Resolver | None, credential: str) -> Resolved | None:
    """What the host application says; what has the form of our own tokens is none of its credentials and never leaves."""
    return None if resolver is None or looks_like_ours(credential) else resolver(credential)


def unknown(token: str | None, kind: TokenKind) -> Unauthenticated:
    """The refusal of what is no known token of this kind; it repeats nothing of it."""
    if not token:
        return Unauthenticated("Send a known token as `Authorization: Bearer TOKEN`.")
    others: TokenKind = "sender" if kind == "api" else "api"
    if token.startswith(MARKS[others]):
        place = {"api": "the API", "sender": "sending spans"}
        return Unauthenticated(f"This token is not for {place[kind]}: those that begin with {MARKS[others]} are for {place[others]}.")
    return Unauthenticated("This token is not known.")


def _principal(who: str, tenants: tuple[str, ...], role: RoleName) -> Principal:
    return Principal(who, None if ANY_TENANT in tenants else tenants, ROLES[role])
