"""Senders' tokens that are stored: with them spans are sent, for one tenant, several, or any; the API does not know them."""

from __future__ import annotations

from pydantic import Field

from otel_finops.identity.principals import Principal
from otel_finops.identity.senders import SENDS
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NAMED
from otel_finops.operations.registry import Changed, Json, Output, Unchanged, operation
from otel_finops.operations.tokens import (
    Lasting,
    Revocation,
    Rotation,
    SenderTenantList,
    Token,
    TokenName,
    TokenQuery,
    created,
    revoked,
    rotated,
    token_page,
)


class SenderTokens(Output):
    """A page, stored tokens first, the newest before all."""

    tokens: list[Token]
    next_cursor: str | None


class NewSenderToken(Lasting):
    """A token that is to be made."""

    name: TokenName = Field(description="Of which application or collector it is; the audit trail says so.")
    tenants: SenderTenantList = Field(
        description="To whom its spans belong: one tenant, which makes a realm of its own; or several names with commas, or `*`, of which "
        "each span may name one.",
        json_schema_extra=NAMED,
    )


class MadeSender(Output):
    """A token that was made."""

    secret: str | None = Field(description="The token itself: it is shown this once and stored nowhere. Null in a dry run.")
    made: Token
    dry_run: bool


class RotatedSender(MadeSender):
    """The successor, of the same name and tenants."""

    replaced: Token = Field(description="The former one, with the instant at which it ends.")


class RevokedSender(Output):
    """The token that holds no longer."""

    revoked: Token


@operation(
    "senders.list",
    "senders",
    takes=TokenQuery,
    output=SenderTokens,
    permission="admin",
    feature="tokens",
    agents=False,
    summary="List the tokens with which spans are sent: whose, for which tenants, until when, when last used.",
)
def listed(context: Context, principal: Principal, given: TokenQuery) -> Json:
    """Those that reach nobody but the principal's tenants."""
    return token_page(context, principal, given, context.senders)


@operation(
    "senders.create",
    "senders",
    takes=NewSenderToken,
    output=MadeSender,
    permission="admin",
    feature="tokens",
    changes=True,
    agents=False,
    summary="Make a token with which spans are sent; it is shown this once.",
)
def create(context: Context, principal: Principal, given: NewSenderToken) -> Changed | Unchanged:
    """Nobody hands on more than he has."""
    from otel_finops.identity.stored import TokenDraft  # noqa: PLC0415 - `--help` must not load the store

    principal.must_have(given.tenants, SENDS)
    draft = TokenDraft(given.name, given.tenants, expires_ns=given.expires_ns(context.clock.now_ns()))
    principal.must_outlast(draft.expires_ns)
    return created(context, context.senders.create(draft, who=principal.who, dry_run=given.dry_run), given)


@operation(
    "senders.rotate",
    "senders/{no}/rotate",
    takes=Rotation,
    output=RotatedSender,
    permission="admin",
    feature="tokens",
    changes=True,
    agents=False,
    summary="Make a successor of a sender's token; the former one holds a while longer.",
)
def rotate(context: Context, principal: Principal, given: Rotation) -> Changed | Unchanged:
    """The realm stays, since the tenants do."""
    return rotated(context, principal, given, context.senders)


@operation(
    "senders.revoke",
    "senders/{no}/revoke",
    takes=Revocation,
    output=RevokedSender,
    permission="admin",
    feature="tokens",
    changes=True,
    agents=False,
    summary="Revoke a sender's token: within a second no process takes spans by it any more.",
)
def revoke(context: Context, principal: Principal, given: Revocation) -> Changed | Unchanged:
    """One that is revoked already stays as it is."""
    return revoked(context, principal, given, context.senders)
