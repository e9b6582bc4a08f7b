"""API tokens that are stored: who has one, making, rotating and revoking them. What senders' tokens share with them stands here too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import TOKEN_TENANTS_MAX
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, format_ns, parse_ns
from otel_finops.identity.principals import Principal, principal_of
from otel_finops.identity.roles import ROLES
from otel_finops.identity.senders import SENDS
from otel_finops.operations.context import Context
from otel_finops.operations.desks import Tokens
from otel_finops.operations.fields import NAMED, Instant, Name, NoInput, Paged, place_cursor
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At
from otel_finops.settings import tree
from otel_finops.settings.tree import RoleName

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.identity.desk import Made, Rotated
    from otel_finops.identity.stored import StoredToken

_ORDER: Final = "tokens"
_STORED, _SETTINGS = 1, 0
_DAYS_MAX: Final = 3_660
_OVERLAP_HOURS_MAX: Final = 2_160.0
_PREFIX_CHARS_MAX: Final = 12
_TENANT_TEXT_CHARS_MAX: Final = 100_000


def _split(given: Any) -> Any:
    """`acme,globex` as a command line says it, or a list of names."""
    if not isinstance(given, str):
        return tuple(given) if isinstance(given, list) else given
    if len(given) > _TENANT_TEXT_CHARS_MAX:
        raise ValueError(f"more than {_TENANT_TEXT_CHARS_MAX} characters")
    return tuple(name.strip() for name in given.split(","))


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("write a name of printable characters, e.g. of who will have the token")
    return text.strip()


_FEW: Final = Field(max_length=TOKEN_TENANTS_MAX)
_TENANTS_SCHEMA: Final = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": TOKEN_TENANTS_MAX},
        {"type": "string", "minLength": 1},
    ],
    "example": ["acme"],
}
TenantList: TypeAlias = Annotated[tree.Tenants, _FEW, BeforeValidator(_split), WithJsonSchema(_TENANTS_SCHEMA)]
SenderTenantList: TypeAlias = Annotated[tree.SenderTenants, _FEW, BeforeValidator(_split), WithJsonSchema(_TENANTS_SCHEMA)]
TokenName: TypeAlias = Annotated[Name, AfterValidator(_printable)]


class Lasting(Input):
    """Until when a token holds."""

    days: int | None = Field(default=None, ge=1, le=_DAYS_MAX, description="It expires after so many days.")
    expires: Instant | None = Field(default=None, description="It expires at this instant; without this and `days` it never does.")
    dry_run: bool = Field(default=False, description="Check everything; nothing is stored and no token made.")

    def expires_ns(self, now_ns: int) -> int | None:
        """When it expires; None: nothing was said.

        Raises:
            BadInput: both were said, or an instant that is over.
        """
        if self.days is not None and self.expires is not None:
            raise BadInput("days: give this or `expires`, not both")
        if self.expires is None:
            return None if self.days is None else now_ns + self.days * NS_PER_DAY
        at_ns = parse_ns(self.expires)
        if at_ns <= now_ns:
            raise BadInput("expires: this instant is over; the token would hold for nobody")
        return at_ns


class TokenQuery(Paged):
    """Which tokens."""

    state: Literal["active", "expired", "revoked"] | None = Field(default=None, description="Only those of this state.")
    prefix: str = Field(
        default="",
        max_length=_PREFIX_CHARS_MAX,
        description="Only tokens that begin so: of one that was found somewhere, its first 12 characters.",
    )


class Token(Output):
    """What is known of a token; the token itself is stored nowhere."""

    no: int | None = Field(
        description="By which it is rotated and revoked; null for those of the settings, which only the settings take back."
    )
    source: str = Field(description="stored, or settings: `auth.tokens` and `auth.senders`.")
    name: str = Field(description="Who the audit trail says it was, with the number: `name #no`.")
    prefix: str | None = Field(description="The first 12 characters of the token; null for those of the settings.")
    tenants: list[str] = Field(description='Whose data; `["*"]`: all.')
    state: str = Field(description="active, expired or revoked.")
    made_at: At | None
    made_by: str | None
    replaces: int | None = Field(description="The token that it was rotated from.")
    expires_at: At | None = Field(description="Null: never.")
    revoked_at: At | None
    revoked_by: str | None
    last_used_at: At | None = Field(description="To the minute or so; null: never, or not known.")


class ApiTokenShown(Token):
    """An API token."""

    role: str


class ApiTokens(Output):
    """A page, stored tokens first, the newest before all."""

    tokens: list[ApiTokenShown]
    next_cursor: str | None


class Whoami(Output):
    """Who the service takes the bearer for."""

    who: str
    tenants: list[str] = Field(description='`["*"]`: all.')
    permissions: list[str]


class NewApiToken(Lasting):
    """A token that is to be made."""

    name: TokenName = Field(description="For whom or what it is; the audit trail says so.")
    role: RoleName = Field(description="viewer, analyst, approver, manager or admin (docs/security.md).", json_schema_extra=NAMED)
    tenants: TenantList = Field(
        description="Whose data its bearer sees and changes: names with commas, or `*` for all tenants.", json_schema_extra=NAMED
    )


class MadeToken(Output):
    """A token that was made."""

    secret: str | None = Field(description="The token itself: it is shown this once and stored nowhere. Null in a dry run.")
    made: ApiTokenShown
    dry_run: bool


class Rotation(Lasting):
    """Which token gets a successor."""

    no: int = Field(ge=1, le=2**53, description="The token's number, as the list shows it.")
    overlap_hours: float = Field(
        default=24.0, ge=0, le=_OVERLAP_HOURS_MAX, description="So long the former token still holds; 0: it ends at once."
    )

    def successor_expires_ns(self, old: StoredToken, now_ns: int) -> int | None:
        """What was said, else as long after now as the former one was made for."""
        said_ns = self.expires_ns(now_ns)
        if said_ns is None and old.said.expires_ns is not None:
            return now_ns + old.said.expires_ns - old.made_ns
        return said_ns


class RotatedToken(MadeToken):
    """The successor, of the same name, tenants and role."""

    replaced: ApiTokenShown = Field(description="The former one, with the instant at which it ends.")


class Revocation(Input):
    """Which token holds no longer."""

    no: int = Field(ge=1, le=2**53, description="The token's number, as the list shows it.")
    why: str = Field(default="", max_length=500, description="For the audit trail, e.g. where it was found.")


class RevokedToken(Output):
    """The token that holds no longer."""

    revoked: ApiTokenShown


@operation(
    "tokens.list",
    "tokens",
    takes=TokenQuery,
    output=ApiTokens,
    permission="admin",
    feature="tokens",
    agents=False,
    summary="List the API's tokens: whose, for which tenants, in which role, until when, when last used.",
)
def listed(context: Context, principal: Principal, given: TokenQuery) -> Json:
    """Those that reach nobody but the principal's tenants."""
    return token_page(context, principal, given, context.tokens)


@operation(
    "tokens.whoami",
    "tokens/whoami",
    takes=NoInput,
    output=Whoami,
    permission="view",
    feature="tokens",
    agents=False,
    summary="Say who the service takes the bearer of this token for.",
)
def whoami(context: Context, principal: Principal, given: NoInput) -> Json:
    """Name, tenants and permissions."""
    tenants = [ANY_TENANT] if principal.tenants is None else list(principal.tenants)
    return {"who": principal.who, "tenants": tenants, "permissions": sorted(principal.permissions)}


@operation(
    "tokens.create",
    "tokens",
    takes=NewApiToken,
    output=MadeToken,
    permission="admin",
    feature="tokens",
    changes=True,
    agents=False,
    summary="Make a token for the API; it is shown this once.",
)
def create(context: Context, principal: Principal, given: NewApiToken) -> Changed | Unchanged:
    """Nobody hands on more than he has."""
    from otel_finops.identity.stored import TokenDraft  # noqa: PLC0415 - `--help` must not load the store

    principal.must_have(given.tenants, ROLES[given.role])
    draft = TokenDraft(given.name, given.tenants, given.role, given.expires_ns(context.clock.now_ns()))
    principal.must_outlast(draft.expires_ns)
    return created(context, context.tokens.create(draft, who=principal.who, dry_run=given.dry_run), given)


@operation(
    "tokens.rotate",
    "tokens/{no}/rotate",
    takes=Rotation,
    output=RotatedToken,
    permission="admin",
    feature="tokens",
    changes=True,
    agents=False,
    summary="Make a successor of an API token; the former one holds a while longer.",
)
def rotate(context: Context, principal: Principal, given: Rotation) -> Changed | Unchanged:
    """Whoever gets the successor has what the former one has, so nobody rotates what is more than his own."""
    return rotated(context, principal, given, context.tokens)


@operation(
    "tokens.revoke",
    "tokens/{no}/revoke",
    takes=Revocation,
    output=RevokedToken,
    permission="admin",
    feature="tokens",
    changes=True,
    agents=False,
    summary="Revoke an API token: within a second no process takes it any more.",
)
def revoke(context: Context, principal: Principal, given: Revocation) -> Changed | Unchanged:
    """One that is revoked already stays as it is."""
    return revoked(context, principal, given, context.tokens)


# --- what both kinds share -----------------------------------------------------------------------------------------


def token_page(context: Context, principal: Principal, given: TokenQuery, desk: Tokens) -> Json:
    """A page of stored tokens, newest first, and behind them those of the settings."""
    now_ns, place = context.clock.now_ns(), given.place(_ORDER)
    if place is not None and (len(place) != 2 or place[0] not in (_STORED, _SETTINGS)):
        raise BadInput("cursor: not a next_cursor of this operation; leave it out to begin with the first page")
    found = _places(desk, principal, given, place, now_ns)
    page: list[tuple[tuple[int, int], dict[str, Any]]] = []
    for one in found:
        if len(page) == given.limit:
            return {"tokens": [row for _, row in page], "next_cursor": place_cursor(_ORDER, page[-1][0])}
        page.append(one)
    return {"tokens": [row for _, row in page], "next_cursor": None}


def _places(
    desk: Tokens, principal: Principal, given: TokenQuery, place: tuple[int, ...] | None, now_ns: int
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Tokens behind a place in the order of the list, each with its place."""
    if place is None or place[0] == _STORED:
        before = None if place is None else place[1]
        while batch := desk.page(principal.tenants, before, given.limit + 1, given.prefix):
            before = batch[-1].no
            for one in batch:
                if given.state in (None, _state(one, now_ns)):
                    yield (_STORED, one.no), shown(one, now_ns)
    if given.prefix or given.state not in (None, "active"):
        return
    begin = place[1] + 1 if place is not None and place[0] == _SETTINGS else 0
    for index, said in enumerate(desk.settings[begin:], begin):
        if principal.covers(said.tenants):
            yield (_SETTINGS, index), _of_settings(said)


def created(context: Context, made: Made, given: Lasting) -> Changed | Unchanged:
    """The answer to making a token; the token itself is on no record."""
    row = shown(made.token, context.clock.now_ns())
    answer = {"secret": made.secret, "made": row, "dry_run": given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, row, _whose(made.token))


def rotated(context: Context, principal: Principal, given: Rotation, desk: Tokens) -> Changed | Unchanged:
    """The answer to rotating a token."""
    now_ns = context.clock.now_ns()
    old = desk.find(given.no, principal.tenants)
    principal.must_have(old.said.tenants, _permissions(old))
    expires_ns = given.successor_expires_ns(old, now_ns)
    principal.must_outlast(expires_ns)
    done: Rotated = desk.rotate(
        given.no,
        principal.tenants,
        expires_ns=expires_ns,
        overlap_ns=round(given.overlap_hours * NS_PER_HOUR),
        who=principal.who,
        dry_run=given.dry_run,
    )
    made, replaced = shown(done.made.token, now_ns), shown(done.after, now_ns)
    answer = {"secret": done.made.secret, "made": made, "replaced": replaced, "dry_run": given.dry_run}
    if given.dry_run:
        return Unchanged(answer)
    return Changed(answer, shown(done.before, now_ns), {"made": made, "replaced": replaced}, _whose(done.before))


def revoked(context: Context, principal: Principal, given: Revocation, desk: Tokens) -> Changed | Unchanged:
    """The answer to revoking a token."""
    before, after = desk.revoke(given.no, principal.tenants, who=principal.who)
    now_ns = context.clock.now_ns()
    answer = {"revoked": shown(after, now_ns)}
    if before == after:
        return Unchanged(answer)
    return Changed(answer, shown(before, now_ns), {**answer["revoked"], "why": given.why}, _whose(after))


def shown(token: StoredToken, now_ns: int) -> dict[str, Any]:
    """What is known of a stored token; one that a dry run made up has no number."""
    said = token.said
    return {
        "no": token.no or None,
        "source": "stored",
        "name": said.name,
        "prefix": token.prefix or None,
        **({} if said.role is None else {"role": said.role}),
        "tenants": list(said.tenants),
        "state": _state(token, now_ns),
        "made_at": format_ns(token.made_ns),
        "made_by": token.made_by,
        "replaces": token.replaces_no,
        "expires_at": _at(said.expires_ns),
        "revoked_at": _at(token.revoked_ns),
        "revoked_by": token.revoked_by,
        "last_used_at": _at(token.last_used_ns),
    }


def _of_settings(token: tree.ApiToken | tree.SenderToken) -> dict[str, Any]:
    api = token if isinstance(token, tree.ApiToken) else None
    nothing = dict.fromkeys(("made_at", "made_by", "replaces", "expires_at", "revoked_at", "revoked_by", "last_used_at"))
    return {
        "no": None,
        "source": "settings",
        "name": f"sender {token.token_sha256[:8]}" if api is None else principal_of(api).who,
        "prefix": None,
        **({} if api is None else {"role": api.role}),
        "tenants": list(token.tenants),
        "state": "active",
        **nothing,
    }


def _permissions(token: StoredToken) -> frozenset[Any]:
    return ROLES[token.said.role] if token.said.role is not None else SENDS


def _state(token: StoredToken, now_ns: int) -> str:
    if token.revoked_ns is not None:
        return "revoked"
    return "expired" if token.is_over(now_ns) else "active"


def _whose(token: StoredToken) -> str | None:
    """In whose chain a change goes on record: the tenant's, where there is but one."""
    return token.said.tenants[0] if len(token.said.tenants) == 1 else None


def _at(instant_ns: int | None) -> str | None:
    return None if instant_ns is None else format_ns(instant_ns)
