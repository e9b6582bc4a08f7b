"""Input fields that many operations share: windows of time, pages, filters, trace ids."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, JsonValue

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import NAME_CHARS_MAX, PAGE_ROWS_MAX, PAIRS_CHARS_MAX
from otel_finops.base.money import PICO_MAX, parse_usd
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.readers import Window
from otel_finops.operations.registry import Input
from otel_finops.trees.queries import Tenants

PLACED: Final[dict[str, JsonValue]] = {"x-placed": True}
"""As `json_schema_extra` of an optional field: the command line takes it by its place (`set provider openai`), not by name."""
NAMED: Final[dict[str, JsonValue]] = {"x-named": True}
"""As `json_schema_extra` of a required field: the command line asks for it by name (`--why TEXT`), not by its place."""
SECRET: Final[dict[str, JsonValue]] = {"x-secret": True}
"""As `json_schema_extra` of a field that holds what nobody is shown again: forms do not show what was typed into it."""
_INT64_MAX: Final = 2**63 - 1
_CURSOR_CHARS_MAX: Final = 200
Row = TypeVar("Row")


def _instant(text: str) -> str:
    try:
        instant_ns = parse_ns(text)
    except (ValueError, OverflowError):
        raise ValueError("not an instant; write a date (2026-11-21) or RFC 3339 (2026-11-21T09:30:00Z)") from None
    if not 0 <= instant_ns <= _INT64_MAX:
        raise ValueError("out of range; instants lie between 1970 and 2262")
    return text


def _name(text: str) -> str:
    if "\0" in text:
        raise ValueError("names hold no NUL")
    return text


def _trace_id(text: str) -> str:
    lowered = text.lower()
    if len(lowered) != 32 or not set(lowered) <= set("0123456789abcdef") or not lowered.strip("0"):
        raise ValueError("a trace id has 32 hex digits that are not all zero")
    return lowered


_DAY: Final = r"(19[7-9]\d|2[01]\d\d|22[0-6]\d)-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)?"


def _span_id(text: str) -> str:
    lowered = text.lower()
    if len(lowered) != 16 or not set(lowered) <= set("0123456789abcdef") or not lowered.strip("0"):
        raise ValueError("a span id has 16 hex digits that are not all zero")
    return lowered


def _run_id(text: str) -> str:
    trace_id, hyphen, span_id = text.partition("-")
    if not hyphen:
        raise ValueError("a run id is TRACE_ID-SPAN_ID, 32 and 16 hex digits")
    return f"{_trace_id(trace_id)}-{_span_id(span_id)}"


Instant: TypeAlias = Annotated[
    str, Field(max_length=64, json_schema_extra={"pattern": f"^{_DAY}([Tt ]{_TIME})?$"}), AfterValidator(_instant)
]
"""An RFC 3339 instant or a date, UTC unless it says otherwise."""
Name: TypeAlias = Annotated[str, Field(max_length=NAME_CHARS_MAX, json_schema_extra={"pattern": "^[^\\u0000]*$"}), AfterValidator(_name)]
TraceId: TypeAlias = Annotated[str, AfterValidator(_trace_id), Field(json_schema_extra={"pattern": "^[0-9a-fA-F]{32}$"})]
SpanId: TypeAlias = Annotated[str, AfterValidator(_span_id), Field(json_schema_extra={"pattern": "^[0-9a-fA-F]{16}$"})]
RunId: TypeAlias = Annotated[str, AfterValidator(_run_id), Field(json_schema_extra={"pattern": "^[0-9a-fA-F]{32}-[0-9a-fA-F]{16}$"})]
Amount: TypeAlias = Annotated[str, Field(max_length=40, pattern=r"^-?[0-9]+(\.[0-9]{1,12})?$")]
"""USD as a plain decimal string; `amount_of` reads it."""
Cursor: TypeAlias = Annotated[str, Field(max_length=_CURSOR_CHARS_MAX, json_schema_extra={"pattern": "^[A-Za-z0-9_=-]+$"})]


BasisName: TypeAlias = Literal["cost", "list", "contracted", "billed", "effective"]
BASIS: Final[Any] = Field(
    default="cost",
    description="Which money: cost (what stands), list, contracted, billed or effective (docs/pricing.md); calls without such an amount "
    "count as unpriced. All but cost read the rows on which they differ, which takes longer.",
)


class NoInput(Input):
    """Nothing to choose."""


class Windowed(Input):
    """Selects by the start of the call."""

    from_: Instant | None = Field(
        default=None, alias="from", description="Calls that started at this instant or later; a date is midnight UTC."
    )
    to: Instant | None = Field(default=None, description="Calls that started before this instant.")

    def window(self) -> Window:
        """The window in nanoseconds.

        Raises:
            BadInput: it ends before it begins.
        """
        window = Window(None if self.from_ is None else parse_ns(self.from_), None if self.to is None else parse_ns(self.to))
        if window.from_ns is not None and window.to_ns is not None and window.to_ns < window.from_ns:
            raise BadInput("`to` lies before `from`")
        return window


class TenantScoped(Input):
    """Selects one of the principal's tenants."""

    tenant: Name | None = Field(default=None, description="Only this tenant.")

    def tenants(self, principal: Principal) -> Tenants:
        """Whose data is read: the principal's tenants, or that one of them which was asked for."""
        if self.tenant in (None, ANY_TENANT):
            return principal.tenants
        return (self.tenant,) if self.tenant is not None and principal.sees(self.tenant) else ()


class CallFilters(Input):
    """Selects by what every roll-up knows of a call."""

    provider: Name | None = Field(default=None, description="Only this provider family, e.g. openai.")
    model: Name | None = Field(default=None, description="Only this model: the response's, else the request's, as sent.")
    operation: Name | None = Field(default=None, description="Only this operation, e.g. chat.")
    cost_method: Name | None = Field(default=None, description="Only this cost method, e.g. unpriced.")
    unpriced_reason: Name | None = Field(default=None, description="Only calls that are unpriced for this reason.")
    agent: Name | None = Field(default=None, description="Only this agent.")
    cost_center: Name | None = Field(default=None, description="Only this cost centre.")
    service: Name | None = Field(default=None, description="Only this service.")
    environment: Name | None = Field(default=None, description="Only this environment.")


def given_filters(given: Input, *models: type[Input]) -> Mapping[str, str]:
    """The fields of these filter models that were given."""
    names = (name for model in models for name in model.model_fields)
    return {name: value for name in names if (value := getattr(given, name)) is not None}


class Paged(Input):
    """A page at a time."""

    limit: int = Field(default=100, ge=1, le=PAGE_ROWS_MAX, description=f"Rows of one page, 1 to {PAGE_ROWS_MAX}.")
    cursor: Cursor | None = Field(default=None, description="`next_cursor` of the page before.")

    def place(self, order: str) -> tuple[int, ...] | None:
        """The place in this order that the cursor stands for, None for the first page.

        Raises:
            BadInput: no cursor of this operation and order.
        """
        return place_of(self.cursor, order)


def place_of(cursor: str | None, order: str, *, refs: int = 0) -> tuple[Any, ...] | None:
    """The place that a cursor stands for: numbers of 64 bits, then so many references of letters and digits; None without a cursor.

    Raises:
        BadInput: no cursor of this order.
    """
    if cursor is None:
        return None
    try:
        named, *place = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError, RecursionError):
        named, place = None, []  # refused below, like a cursor that can be read and is of another order
    numbers = len(place) - refs
    if named == order and numbers >= 0 and all(map(_is_number, place[:numbers])) and all(map(_is_reference, place[numbers:])):
        return tuple(place)
    raise BadInput("cursor: not a next_cursor of this operation and order; leave it out to begin with the first page")


def _is_number(value: Any) -> bool:
    return type(value) is int and abs(value) <= _INT64_MAX


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.isalnum()


def page_of(rows: Iterable[Row], given: Paged, order: str, place: Callable[[Row], tuple[int, ...]]) -> tuple[list[Row], str | None]:
    """A page of rows that are in memory, and the cursor of the next one.

    Args:
        order: its name, which cursors bear.
        place: where a row stands, ascending; no two rows have the same, and none ever changes it.
    """
    after = given.place(order)
    found = sorted((row for row in rows if after is None or place(row) > after), key=place)
    page = found[: given.limit]
    return page, place_cursor(order, place(page[-1])) if 0 < len(page) < len(found) else None


def amount_of(name: str, text: str) -> int:
    """An amount in USD that somebody gives, as pico-USD; raises BadInput for one that is negative, or more than a row can hold."""
    try:
        pico = parse_usd(text)
    except ValueError:
        pico = -1
    if not 0 <= pico <= PICO_MAX:
        raise BadInput(f"{name}: a plain decimal amount in USD, not negative and below 9 million, e.g. 0.0125")
    return pico


def place_cursor(order: str, place: Sequence[int | str]) -> str:
    """The opaque text of a place in an order."""
    return base64.urlsafe_b64encode(json.dumps([order, *place], separators=(",", ":")).encode()).decode()


def json_or(text: str, otherwise: Callable[[str], Any]) -> Any:
    """What a text says that is either a JSON object or in a short form.

    Args:
        otherwise: reads the short form.

    Raises:
        ValueError: it begins like JSON and is none, or what `otherwise` raises.
    """
    if not text.lstrip().startswith("{"):
        return otherwise(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("begins like JSON and is none") from None


def pairs_of(text: str, *, unsaid: str, twice: str) -> Any:
    """`name=value,name=value`, or a JSON object as text, as values by name; JSON may say anything else, too.

    Args:
        unsaid: what whoever gives no value to a name is told.
        twice: what whoever says a name twice is told.

    Raises:
        ValueError: it is neither, or too long.
    """
    if len(text) > PAIRS_CHARS_MAX:
        raise ValueError(f"more than {PAIRS_CHARS_MAX} characters")

    def read(text: str) -> dict[str, str]:
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        if any(not sign for _, sign, _ in pairs):
            raise ValueError(unsaid)
        names = [name.strip() for name, _, _ in pairs]
        if len(set(names)) < len(names):
            raise ValueError(twice)
        return dict(zip(names, (value.strip() for _, _, value in pairs), strict=True))

    return json_or(text, read)
