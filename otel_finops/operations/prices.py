"""The price book: what it says, which lists make it, and how it is refreshed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Instant, Name, NoInput, Paged, page_of
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count

if TYPE_CHECKING:  # the rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.ledger.price_refresh import Given
    from otel_finops.ledger.price_store import Activation, StoredList
    from otel_finops.pricing.diff import Diff

_CONTENT_CHARS_MAX: Final = 96 * 1024 * 1024
"""A list as base64; the API's own bound on bodies is far below, the command line reads files."""
_URL_CHARS_MAX: Final = 2_048


def _sha256(text: str) -> str:
    if len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef"):
        raise ValueError("a SHA-256 has 64 hex digits")
    return text.lower()


def _version(text: str) -> str:
    if not 4 <= len(text) <= 64 or not set(text.lower()) <= set("0123456789abcdef"):
        raise ValueError("a version is the first 16 hex digits of a list's SHA-256; 4 of them will do")
    return text.lower()


Sha256: TypeAlias = Annotated[str, AfterValidator(_sha256)]
Version: TypeAlias = Annotated[str, AfterValidator(_version)]
Content: TypeAlias = Annotated[str, Field(max_length=_CONTENT_CHARS_MAX)]


class ActiveList(Output):
    """The active list of one source."""

    source: str
    source_version: str
    version: str
    date: str
    rows: Count
    activated_at: At
    valid_from: At | None = Field(description="From which moment of a call what it changed holds; null: from the beginning.")
    who: str


class LastRefresh(Output):
    """The latest attempt to refresh the prices."""

    at: At
    origin: str
    outcome: str = Field(description="activated, unchanged, refused or failed.")
    detail: str = Field(description="The version and what it changed, or why the prices are as they were.")
    who: str


class Status(Output):
    """The active price book."""

    source: str
    source_version: str
    version: str = Field(description="Digest of the snapshot; every priced row carries that of the snapshot that made its price.")
    date: str = Field(description="Day of the snapshot; empty when unknown.")
    age_days: int | None = Field(description="Whole days since then; null when unknown.")
    rows: Count
    retired_rows: Count
    lists: list[ActiveList] = Field(description="The active list of each source, as it became part of this ledger's book.")
    last_refresh: LastRefresh | None


@operation(
    "prices.status",
    "prices/status",
    takes=NoInput,
    output=Status,
    permission="view",
    feature="prices",
    summary="Say which price book is active, how old it is, and what came of the last refresh.",
)
def status(context: Context, principal: Principal, given: NoInput) -> Json:
    """The book's identity; it is the same for all tenants."""
    book = context.prices.status()
    age_s = book.status.age_s(context.clock.now_ns())
    return {
        **book.status._asdict(),
        "age_days": None if age_s is None else int(age_s // 86_400),
        "lists": [
            {
                **_identity(made.stored),
                "rows": made.stored.rows,
                "activated_at": format_ns(made.activated_ns),
                "valid_from": _at(made.valid_from_ns),
                "who": made.who,
            }
            for made in book.lists
        ],
        "last_refresh": None
        if book.last is None
        else {
            "at": format_ns(book.last.at_ns),
            "origin": book.last.origin,
            "outcome": book.last.outcome,
            "detail": book.last.detail,
            "who": book.last.who,
        },
    }


class ListedPrice(Output):
    """One price of a row, as people compare them."""

    field: str = Field(description="The price list's own field, nested ones by their path.")
    unit: str = Field(description="Its short name, e.g. input, cache_read, images; else the field's own.")
    tier: str | None = Field(description="The service tier that it holds for; null: the standard one.")
    above: str | None = Field(description="The long-context edge above which it holds, e.g. 200k.")
    within: str | None = Field(description="The part of the row in which it stands, e.g. tiered_pricing[0] or off_peak_pricing.")
    usd: str = Field(description="USD for `per` as a plain decimal; of a factor the factor.")
    per: Literal["million", "one", "factor"] = Field(description="A million tokens, one of anything else, or no price but a factor.")


class PriceQuery(Input):
    """Which price."""

    model: Name = Field(min_length=1, description="A model's name as spans carry it.")
    provider: Name | None = Field(default=None, description="The provider, in any spelling.")
    at: Instant | None = Field(default=None, description="The billing moment; now when it is not given.")


class PriceRow(Output):
    """The row that prices a model."""

    key: str
    match: str
    provider: str
    mode: str | None
    rates: dict[str, Any] = Field(description="The price list's own fields, USD for one unit, as they hold at that moment.")
    prices: list[ListedPrice] = Field(description="The same one by one, tokens per million.")
    version: str = Field(description="Of the list, or the rule, that made the price.")
    retired: bool = Field(description="The list no longer has the row; it answers because no live one does.")


@operation(
    "prices.show",
    "prices",
    takes=PriceQuery,
    output=PriceRow,
    permission="view",
    feature="prices",
    summary="Show the price row that a model's calls are charged by.",
)
def show(context: Context, principal: Principal, given: PriceQuery) -> Json:
    """The row, or NotFound: such calls stay unpriced."""
    at_ns = context.clock.now_ns() if given.at is None else parse_ns(given.at)
    row = context.prices.show(given.provider, given.model, at_ns)
    if row is None:
        raise NotFound(
            f"The price book has no row for this model{'' if given.provider is None else ' of this provider'}; its calls stay unpriced."
        )
    return row


class DifferenceQuery(Paged):
    """Which differences."""

    model: Name | None = Field(default=None, description="Part of a price key, in any capitals; all when it is not given.")


class ContestedPrice(Output):
    """A price on which two sources differ, USD for one unit."""

    key: str
    field: str
    list_usd: str = Field(description="What the price list says; it holds.")
    second_usd: str = Field(description="What the second source says.")


class Differences(Output):
    """Prices on which the list and the second source differ on the day of the list."""

    second_source: str
    second_version: str
    rows: Count = Field(description="Rows with such a price.")
    prices: Count
    differences: list[ContestedPrice]
    next_cursor: str | None


@operation(
    "prices.differences",
    "prices/differences",
    takes=DifferenceQuery,
    output=Differences,
    permission="view",
    feature="prices",
    summary="List the prices on which the price list and the second source differ; the list's hold.",
)
def differences(context: Context, principal: Principal, given: DifferenceQuery) -> Json:
    """By key and field; prices as plain decimals. A cursor is good for one version of the second source."""
    from otel_finops.pricing.diff import in_usd  # noqa: PLC0415 - `--help` must not load the price rooms

    source, version, contested = context.prices.differences()
    wanted = (given.model or "").lower()
    found = sorted(one for one in contested if wanted in one.key.lower())
    page, more = page_of(enumerate(found), given, f"prices.differences {version}", lambda one: one[:1])
    return {
        "second_source": source,
        "second_version": version,
        "rows": len({one.key for one in found}),
        "prices": len(found),
        "differences": [
            {"key": key, "field": field, "list_usd": in_usd(own), "second_usd": in_usd(other)} for _, (key, field, own, other) in page
        ],
        "next_cursor": more,
    }


# --- lists and their differences -------------------------------------------------------------------------------------


class PriceMove(Output):
    """One price that moves."""

    field: str
    before: str | None = Field(description="USD for one unit; null: the row has no such price.")
    after: str | None


class RowMove(Output):
    """A row whose prices move."""

    key: str
    prices: list[PriceMove]


class Moves(Output):
    """What changes; `limit` bounds how many of each are listed, the counts cover all."""

    new_rows: Count
    changed_rows: Count
    gone_rows: Count
    new: list[str]
    changed: list[RowMove]
    gone: list[str]


class Listed(Input):
    """How much is listed."""

    limit: int = Field(default=100, ge=0, le=10_000, description="Most rows of each kind that are listed.")


class ListIdentity(Output):
    """Which list."""

    source: str
    source_version: str
    version: str
    date: str


class Refresh(Listed):
    """Where new prices come from, and how careful to be with them."""

    from_: str | None = Field(
        default=None,
        alias="from",
        max_length=_URL_CHARS_MAX,
        description="An https URL (on the command line also a file); prices.refresh_from when it is not given. "
        "Beside `content` the list's name.",
    )
    content: Content | None = Field(default=None, description="The list itself, gzipped or not, as base64.")
    source: Name | None = Field(default=None, description="Which importer reads it; the one that recognises it when not given.")
    sha256: Sha256 | None = Field(default=None, description="The SHA-256 that the list must have, as delivered or inflated.")
    dry_run: bool = Field(default=False, description="Only say what would change.")
    accept: bool = Field(
        default=False,
        description="Take changes that the guards doubt (x10, a list that shrank, a unit that looks wrong), and leave out rows with "
        "units that are not known.",
    )
    valid_from: Instant | None = Field(default=None, description="From which moment of a call the changes hold; from now when not given.")


class LeftOut(Output):
    """A row that was not taken."""

    row: str
    reason: str


class RefreshReport(Moves):
    """What came of a refresh."""

    outcome: str = Field(description="activated; unchanged: the same list is active; checked: a dry run.")
    source: str
    source_version: str
    version: str
    date: str
    rows: Count
    valid_from: At | None
    doubts: list[str] = Field(description="What the guards found; it was accepted, or this was a dry run.")
    notes: list[str]
    left_out_rows: Count
    left_out: list[LeftOut]
    differing_rows: Count = Field(description="Models that a list of higher precedence prices otherwise; that one's price holds.")
    differing: list[str]


@operation(
    "prices.refresh",
    "prices/refresh",
    takes=Refresh,
    output=RefreshReport,
    permission="admin",
    feature="prices",
    changes=True,
    runs=True,
    agents=False,
    summary="Read a price list and make it part of the price book, whole or not at all.",
)
def refresh(context: Context, principal: Principal, given: Refresh) -> Changed | Unchanged:
    """Everything is checked first; whatever is wrong leaves the book as it is and is on record in `prices.status`."""
    _for_everybody(principal, "prices.refresh")
    before = context.prices.status().status.version
    done = context.prices.refresh(_given(context, principal, given), who=principal.who, dry_run=given.dry_run)
    one, said = done.one, done.one.said
    answer = {
        "outcome": done.outcome,
        "source": one.source,
        "source_version": said.source_version,
        "version": one.version,
        "date": said.date,
        "rows": len(said.rows),
        "valid_from": None if done.activation is None else _at(done.activation.valid_from_ns),
        "doubts": list(done.doubts),
        "notes": list(done.notes),
        "left_out_rows": len(said.left_out),
        "left_out": [{"row": row, "reason": reason} for row, reason in sorted(said.left_out.items())[: given.limit]],
        "differing_rows": len(done.differing),
        "differing": list(done.differing[: given.limit]),
        **_moves(done.diff, given.limit),
    }
    if done.activation is None:
        return Unchanged(answer)
    counts = {name: answer[name] for name in ("source", "version", "valid_from", "new_rows", "changed_rows", "gone_rows", "doubts")}
    return Changed(answer, {"version": before}, counts)


def _for_everybody(principal: Principal, name: str) -> None:
    principal.must_see_all(f"{name} changes the prices of all tenants")


def _given(context: Context, principal: Principal, asked: Refresh) -> Given:
    from otel_finops.ledger.price_refresh import Given  # noqa: PLC0415 - `--help` must not load the database rooms

    valid_from_ns = None if asked.valid_from is None else parse_ns(asked.valid_from)
    if asked.content is not None:
        data, origin = _decoded(asked.content), asked.from_ or "content"
    else:
        data, origin = context.prices.fetched(asked.from_, asked.sha256, who=principal.who)
    return Given(data, origin, asked.source, asked.sha256, asked.accept, valid_from_ns)


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("content: not base64") from None


class DiffQuery(Listed):
    """Two lists."""

    before: Version | None = Field(default=None, description="A stored list; the one active before `after` when not given.")
    after: Version | None = Field(default=None, description="A stored list; the newest when not given.")
    content: Content | None = Field(
        default=None, description="A list as base64, to hold against the active one of its source (on the command line --file)."
    )
    source: Name | None = Field(default=None, description="Which importer reads it.")


class DiffReport(Moves):
    """What changes from one list to another."""

    before: ListIdentity
    after: ListIdentity


@operation(
    "prices.diff",
    "prices/diff",
    takes=DiffQuery,
    output=DiffReport,
    permission="view",
    feature="prices",
    by_body=True,
    summary="Say what changes between two stored price lists, or between the active one and a file.",
)
def diff(context: Context, principal: Principal, given: DiffQuery) -> Json:
    """New, changed and gone rows; prices as plain decimals."""
    from otel_finops.ledger.price_refresh import Given  # noqa: PLC0415 - `--help` must not load the database rooms

    if given.content is not None and (given.before or given.after):
        raise BadInput("content: it is held against the active list; leave before and after out")
    one = None if given.content is None else Given(_decoded(given.content), "content", given.source)
    found = context.prices.diff(given.before, given.after, one)
    return {"before": _identity(found.before), "after": _identity(found.after), **_moves(found.diff, given.limit)}


class ListUse(Output):
    """When a list became part of the book."""

    at: At
    valid_from: At | None
    cause: str = Field(description="base: packaged or prices.path; refresh; again: activated once more.")
    who: str


class KeptList(ListIdentity):
    """A stored list."""

    rows: Count
    retired_rows: Count
    stored_at: At
    activations: list[ListUse]


class KeptLists(Output):
    """A page of them, newest first."""

    snapshots: list[KeptList]
    next_cursor: str | None


@operation(
    "prices.snapshots",
    "prices/snapshots",
    takes=Paged,
    output=KeptLists,
    permission="view",
    feature="prices",
    summary="List the stored price lists and when each was activated.",
)
def snapshots(context: Context, principal: Principal, given: Paged) -> Json:
    """Nothing is ever deleted: every price version of the ledger can be looked up."""
    page, more = page_of(context.prices.lists(), given, "prices.snapshots", lambda one: (-one[0].no,))
    return {"snapshots": [_kept(stored, made) for stored, made in page], "next_cursor": more}


class Activate(Input):
    """Which list, and from when."""

    version: Version = Field(description="As prices.snapshots shows it.")
    valid_from: Instant | None = Field(default=None, description="From which moment of a call its prices hold; from now when not given.")


class ActivationReport(ListIdentity):
    """What an activation changed."""

    valid_from: At | None = Field(description="Null: the list was active already, nothing changed.")
    new_rows: Count
    changed_rows: Count
    gone_rows: Count


@operation(
    "prices.activate",
    "prices/snapshots/{version}/activate",
    takes=Activate,
    output=ActivationReport,
    permission="admin",
    feature="prices",
    changes=True,
    agents=False,
    summary="Make a stored price list the active one of its source once more.",
)
def activate(context: Context, principal: Principal, given: Activate) -> Changed | Unchanged:
    """The way back from a list that was taken by mistake; what was charged meanwhile is corrected by `ledger reprice`."""
    _for_everybody(principal, "prices.activate")
    before = context.prices.status().status.version
    valid_from_ns = None if given.valid_from is None else parse_ns(given.valid_from)
    made, stored, found = context.prices.activate(given.version, valid_from_ns, who=principal.who)
    answer = {**_identity(stored), "valid_from": _at(made.valid_from_ns) if made else None, **_counts(found)}
    if made is None:
        return Unchanged(answer)
    return Changed(answer, {"version": before}, answer)


def _kept(stored: StoredList, made: Sequence[Activation]) -> dict[str, Any]:
    return {
        **_identity(stored),
        "rows": stored.rows,
        "retired_rows": stored.retired_rows,
        "stored_at": format_ns(stored.stored_ns),
        "activations": [
            {"at": format_ns(one.activated_ns), "valid_from": _at(one.valid_from_ns), "cause": one.cause, "who": one.who} for one in made
        ],
    }


def _identity(stored: StoredList) -> dict[str, Any]:
    return {"source": stored.source, "source_version": stored.source_version, "version": stored.version, "date": stored.date}


def _counts(found: Diff) -> dict[str, int]:
    return {"new_rows": len(found.new), "changed_rows": len(found.changed), "gone_rows": len(found.gone)}


def _moves(found: Diff, limit: int) -> dict[str, Any]:
    from otel_finops.pricing.diff import in_usd  # noqa: PLC0415 - `--help` must not load the price rooms

    changed = [
        {
            "key": one.key,
            "prices": [
                {
                    "field": price.field,
                    "before": None if price.before is None else in_usd(price.before),
                    "after": None if price.after is None else in_usd(price.after),
                }
                for price in one.prices
            ],
        }
        for one in found.changed[:limit]
    ]
    return {**_counts(found), "new": list(found.new[:limit]), "changed": changed, "gone": list(found.gone[:limit])}


def _at(at_ns: int | None) -> str | None:
    return None if at_ns is None else format_ns(at_ns)
