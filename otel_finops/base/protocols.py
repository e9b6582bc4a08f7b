"""Values and protocols that rooms exchange without knowing each other."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from otel_finops.base.span import Rejection

DEFAULT_REALM = "default"
DEFAULT_TENANT = "default"
ANY_TENANT = "*"

Encoding = Literal["protobuf", "json"]


class Credential(NamedTuple):
    """What a sender's token says about its spans.

    Attributes:
        realm: the space in which spans are unique and may merge: the token's tenant if it has exactly one, else `default`.
        tenants: the tenants that the spans may belong to; `("*",)` for any.
    """

    realm: str = DEFAULT_REALM
    tenants: tuple[str, ...] = (ANY_TENANT,)

    @property
    def speaks_for(self) -> str:
        """The tenants as one text, for values that must stay small and comparable: `*`, or the names a line each, sorted."""
        return ANY_TENANT if self.tenants[0] == ANY_TENANT else "\n".join(sorted(self.tenants))

    def tenant_for(self, named: str | None) -> str:
        """The tenant of a span that names `named` (or nobody): never one that the credential does not cover, nor `*`, which is none."""
        if len(self.tenants) == 1 and self.tenants[0] != ANY_TENANT:
            return self.tenants[0]
        if named and named != ANY_TENANT and (self.tenants[0] == ANY_TENANT or named in self.tenants):
            return named
        return DEFAULT_TENANT


def covers(speaks_for: str, tenant: str) -> bool:
    """Whether a sender that speaks for these tenants (`Credential.speaks_for`) may put costs on this one."""
    return speaks_for == ANY_TENANT or tenant in speaks_for.split("\n")


class ExportRequest(NamedTuple):
    """One OTLP export request after admission: the inflated body, and who sent it."""

    body: bytes
    encoding: Encoding
    credential: Credential


class ExportOutcome(NamedTuple):
    """What became of an export request, once it is durable.

    Attributes:
        accepted: spans that are stored now (or were before); log records that were readable.
        rejections: refused spans or log records; none means that all is well.
    """

    accepted: int
    rejections: tuple[Rejection, ...] = ()

    @property
    def rejected(self) -> int:
        """How many spans or log records were refused."""
        return sum(rejection.spans for rejection in self.rejections)


class TraceIntake(Protocol):
    """What stands behind the receivers: it returns once the spans, or the calls in the log records, are durable.

    Raises:
        Undecodable, TooLarge: the sender must not send the same bytes again.
        Busy, Unavailable: the sender should send them again later. Any other exception counts as Unavailable.
    """

    def __call__(self, request: ExportRequest, /) -> ExportOutcome:
        """Take in one request."""
        ...


class SenderAuth(Protocol):
    """Turns a sender's token (None when it sent none) into a credential.

    Raises:
        Unauthenticated: no such token.
        Forbidden: a token that may not send.
    """

    def __call__(self, token: str | None, /) -> Credential:
        """The bearer's credential."""
        ...
