"""Providers' bills: importing them, listing and taking them away."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import BILL_ALIASES_MAX, BILL_FILE_BYTES_MAX, NAME_CHARS_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Instant, Name, Paged, page_of
from otel_finops.operations.fx import CurrencyCode
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count
from otel_finops.pricing.providers import canonical

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.bill_store import StoredBill
    from otel_finops.insight.bills.line import Bill
    from otel_finops.operations.bills_desk import PulledBill

Format = Literal["openai_costs", "openai_usage", "anthropic_cost", "anthropic_usage", "openrouter_activity", "focus", "csv"]
_CONTENT_CHARS_MAX: Final = BILL_FILE_BYTES_MAX // 3 * 4 + 4
_SCOPES: Final = ("service", "environment", "cost_center")


def _object(value: object) -> object:
    """JSON in a text, as the command line has it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('write a JSON object, e.g. {"amount": "Total"}') from None


Names = Annotated[
    dict[Annotated[str, Field(max_length=NAME_CHARS_MAX)], Annotated[str, Field(max_length=NAME_CHARS_MAX)]],
    Field(max_length=BILL_ALIASES_MAX),
    BeforeValidator(_object),
]


class BillFile(Input):
    """A file, and what it does not say itself."""

    from_: str | None = Field(
        default=None,
        alias="from",
        max_length=2_048,
        description="File or https:// URL, gzipped or not: pages of a billing API as JSON, or a table as CSV or Parquet. On the command "
        "line only.",
    )
    content: str | None = Field(
        default=None, max_length=_CONTENT_CHARS_MAX, description="The file itself in base64; `from` is its name then."
    )
    format: Format | None = Field(default=None, description="How it is read; as it looks when not given.")
    name: Name | None = Field(
        default=None,
        min_length=1,
        description="The bill's name: what is imported under it later replaces the same days. The provider's when not given.",
    )
    provider: Name | None = Field(default=None, description="Who bills, in any spelling; needed where the file does not say, as with csv.")
    tenant: Name | None = Field(default=None, description="Whose calls it is for; all tenants' when not given, for who sees all.")
    service: Name | None = Field(default=None, description="It is for the calls of this service alone.")
    environment: Name | None = Field(default=None, description="It is for the calls of this environment alone.")
    cost_center: Name | None = Field(default=None, description="It is for the calls of this cost centre alone.")
    models: Names = Field(default={}, description="The ledger's name of a model by the bill's, a JSON object, where names differ.")
    mapping: Names = Field(
        default={},
        description='csv: the file\'s column by what it is, a JSON object: {"date": "Usage day", "model": "Product", "amount": "Total"}; '
        "columns with plain names are found by themselves (docs/insight.md).",
    )
    currency: CurrencyCode | None = Field(default=None, description="csv: of amounts where no column says it; USD when not given.")
    decimal_comma: bool = Field(default=False, description="csv: numbers are written 1.234,56.")
    amount_column: Literal["BilledCost", "EffectiveCost", "ContractedCost", "ListCost"] = Field(
        default="BilledCost", description="focus: which cost is compared."
    )
    model_column: Name | None = Field(default=None, description="focus: the column that names the model.")
    from_day: Instant | None = Field(default=None, description="It tells everything from this day on, though its lines begin later.")
    to_day: Instant | None = Field(default=None, description="It tells everything before this day, though its lines end earlier.")
    dry_run: bool = Field(default=False, description="Read it and say what would be stored; nothing is.")


class BillShown(Output):
    """An import of a bill."""

    no: int = Field(description="Its number; 0 of one that was only tried.")
    name: str
    aspect: str = Field(description="cost: with amounts; usage.KIND: counts alone. Imports of one name and aspect replace each other.")
    tenant: str | None = Field(description="Whose calls it is for; null: all tenants'.")
    provider: str
    format: str
    from_: At = Field(alias="from")
    to: At
    currency: str
    amount: str = Field(description="The sum of its lines, a plain decimal in its currency.")
    lines: Count = Field(description="By day, model and unit.")
    scope: dict[str, str]
    origin: str
    who: str
    at: At


class BillAnswer(Output):
    """The bill."""

    bill: BillShown
    new: bool = Field(description="False: it says what stands already, and nothing was stored.")
    skipped_rows: Count = Field(description="Rows of other products.")


class Bills(Output):
    """A page of imports, oldest first."""

    bills: list[BillShown]
    next_cursor: str | None


class BillNumber(Input):
    """Which import."""

    no: int = Field(ge=1, le=2**53, description="Its number, as bills.list shows it.")
    dry_run: bool = Field(default=False, description="Say which one would be taken away; none is.")


class Removed(Output):
    """The import that was taken away."""

    bill: BillShown


@operation(
    "bills.import",
    "bills",
    takes=BillFile,
    output=BillAnswer,
    permission="manage",
    feature="reconciliation",
    changes=True,
    agents=False,
    summary="Import a provider's bill: pages of a billing API, a FOCUS file, or any CSV.",
)
def import_bill(context: Context, principal: Principal, given: BillFile) -> Changed | Unchanged:
    """Of days that an earlier import of the name tells of, this one is believed."""
    from otel_finops.insight.bill_store import OF_ALL, Label  # noqa: PLC0415 - `--help` must not load the database rooms

    tenant = _tenant(principal, given.tenant, OF_ALL)
    data, origin = _file_of(context, given)
    bill = _widened(_read(context, given, data, origin), given)
    provider = _provider(bill, given)
    scope = {key: value for key in _SCOPES if (value := getattr(given, key)) is not None}
    label = Label(tenant, given.name or provider, provider, scope, given.models)
    stored, new = context.bills.add(bill, label, origin, who=principal.who, dry_run=given.dry_run)
    answer = {"bill": shown_bill(stored), "new": new, "skipped_rows": bill.skipped}
    return Changed(answer, None, shown_bill(stored), tenant or None) if new and not given.dry_run else Unchanged(answer)


@operation(
    "bills.list",
    "bills",
    takes=Paged,
    output=Bills,
    permission="view",
    feature="reconciliation",
    summary="List the imported bills.",
)
def listed(context: Context, principal: Principal, given: Paged) -> Json:
    """Those of the tenants that one sees; those for all tenants are shown to those who see all."""
    page, more = page_of(context.bills.all(principal.tenants), given, "bills.list", lambda one: (one.no,))
    return {"bills": [shown_bill(one) for one in page], "next_cursor": more}


@operation(
    "bills.remove",
    "bills/{no}/remove",
    takes=BillNumber,
    output=Removed,
    permission="manage",
    feature="reconciliation",
    changes=True,
    agents=False,
    summary="Take an imported bill away; what it replaced stands again.",
)
def remove(context: Context, principal: Principal, given: BillNumber) -> Changed | Unchanged:
    """It stays on record that it was there."""
    removed = context.bills.remove(given.no, principal.tenants, who=principal.who, dry_run=given.dry_run)
    answer = {"bill": shown_bill(removed)}
    return Unchanged(answer) if given.dry_run else Changed(answer, shown_bill(removed), None, removed.label.tenant or None)


class PullInput(Input):
    """Which source."""

    name: Name | None = Field(default=None, description="Only the source of this name; all of the settings when not given.")
    dry_run: bool = Field(default=False, description="Say which would be asked; none is.")


class SourcePulled(Output):
    """What came of asking one source."""

    name: str
    new: Count = Field(description="Bills that say what was not known yet.")
    unchanged: Count
    fault: str | None


class Pulled(Output):
    """What came of asking the sources."""

    sources: list[SourcePulled]


@operation(
    "bills.pull",
    "bills/pull",
    takes=PullInput,
    output=Pulled,
    permission="admin",
    feature="reconciliation",
    changes=True,
    runs=True,
    agents=False,
    summary="Fetch bills from the billing APIs that the settings name.",
)
def pull(context: Context, principal: Principal, given: PullInput) -> Changed | Unchanged:
    """Keys come from the settings alone."""
    principal.must_see_all("bills.pull asks for the bills of the whole service")
    answer = {"sources": [_pulled(one) for one in context.bills.pull(given.name, who=principal.who, dry_run=given.dry_run)]}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, answer)


def shown_bill(one: StoredBill) -> dict[str, Any]:
    """An import as it is shown."""
    return {
        "no": one.no,
        "name": one.label.name,
        "aspect": one.aspect,
        "tenant": one.label.tenant or None,
        "provider": one.label.provider,
        "format": one.format,
        "from": format_ns(one.from_ns),
        "to": format_ns(one.to_ns),
        "currency": one.currency,
        "amount": format_usd(one.amount),
        "lines": one.lines,
        "scope": dict(one.label.scope),
        "origin": one.origin,
        "who": one.who,
        "at": format_ns(one.at_ns),
    }


def _pulled(one: PulledBill) -> dict[str, Any]:
    new = sum(is_new for _, is_new in one.bills)
    return {"name": one.name, "new": new, "unchanged": len(one.bills) - new, "fault": one.fault}


def _tenant(principal: Principal, named: str | None, of_all: str) -> str:
    if named is not None:
        principal.must_see(named)
        return named
    principal.must_see_all("tenant: must be given, one of those that the token is for; a bill for all tenants' calls")
    return of_all


def _file_of(context: Context, given: BillFile) -> tuple[bytes, str]:
    if given.content is None:
        if given.from_ is None:
            raise BadInput("give `from`, a file or URL, or `content`, the file itself in base64")
        return context.bills.fetched(given.from_)
    try:
        return base64.b64decode(given.content, validate=True), given.from_ or "content"
    except ValueError:  # of characters beyond ASCII too
        raise BadInput("content: no base64") from None


def _read(context: Context, given: BillFile, data: bytes, origin: str) -> Bill:
    from otel_finops.insight.bills.reading import Given  # noqa: PLC0415 - as above

    provider = None if given.provider is None else canonical(given.provider)
    said: Mapping[str, Any] = {
        name: getattr(given, name) for name in ("mapping", "currency", "decimal_comma", "amount_column", "model_column")
    }  # fmt: skip
    return context.bills.read(Given(data, origin, given.format, provider, **said))


def _provider(bill: Bill, given: BillFile) -> str:
    said = None if given.provider is None else canonical(given.provider)
    if bill.provider is None and said is None:
        raise BadInput("provider: the file does not say who bills; give it, e.g. openai")
    if bill.provider is not None and said not in (None, bill.provider):
        raise BadInput(f"provider: the file is a bill of {bill.provider}, not of {said}")
    return said or bill.provider or ""


def _widened(bill: Bill, given: BillFile) -> Bill:
    """The bill with the time that it tells of as somebody says."""
    from_ns = bill.from_ns if given.from_day is None else min(bill.from_ns, parse_ns(given.from_day))
    to_ns = bill.to_ns if given.to_day is None else max(bill.to_ns, parse_ns(given.to_day))
    return bill._replace(from_ns=from_ns, to_ns=to_ns)
