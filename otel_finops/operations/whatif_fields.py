"""What questions of the kind "what would it have cost" take, and shapes of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from otel_finops.base.errors import BadInput
from otel_finops.base.money import divide_half_even, format_usd
from otel_finops.base.times import NS_PER_DAY
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import CallFilters, TenantScoped, Windowed, given_filters
from otel_finops.operations.registry import Output
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.operations.spend import FinerFilters

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.traffic import Selection
    from otel_finops.insight.whatif import Compared, Mix, Target

DAYS: Final = 30
_PLACES: Final = Decimal(1).scaleb(-12)
_MILLIONTH: Final = 10**6
PEOPLE: Final = ("user", "session")
"""Filters that name people: what is stored for good names none, so that they can be erased."""


def _number(given: Any) -> Any:
    """A number, or one written as text, cut to twelve places; anything else is left to the checks behind."""
    if isinstance(given, bool) or not isinstance(given, str | int | float | Decimal):
        return given
    try:
        value = Decimal(str(given).strip()) if len(str(given)) <= 400 else None
        return format(value.quantize(_PLACES), "f") if value is not None and value.is_finite() else given
    except ArithmeticError:
        return given


def _between(low: str, high: str, example: float) -> Any:
    least, most = Decimal(low), Decimal(high)

    def checked(text: Any) -> str:
        try:
            value = Decimal(text) if isinstance(text, str) else None
        except ArithmeticError:
            value = None
        if value is None or not value.is_finite() or not least <= value <= most:
            raise ValueError(f"must be a number from {low} to {high}, e.g. {example}")
        return format(value.normalize(), "f")

    schema = {"type": "number", "minimum": float(low), "maximum": float(high), "example": example}
    return Annotated[str, BeforeValidator(lambda given: checked(_number(given))), WithJsonSchema(schema)]


Share: TypeAlias = _between("0", "1", 0.8)  # type: ignore[valid-type]
"""As an input: a share from 0 to 1, as text, exact to twelve places."""
Factor: TypeAlias = _between("0.01", "100", 1.15)  # type: ignore[valid-type]
Ratio: TypeAlias = Annotated[str, Field(pattern=r"^-?\d+(\.\d{1,6})?$", json_schema_extra={"example": "0.25"})]
"""In answers: a decimal string of six places at most."""


def ratio_text(numerator: int, denominator: int) -> str | None:
    """A quotient with six decimal places; None where nothing is divided by."""
    if not denominator:
        return None
    millionths = divide_half_even(abs(numerator) * _MILLIONTH, abs(denominator))
    return format_usd(millionths * _MILLIONTH * (1 if (numerator < 0) == (denominator < 0) else -1))


class CallSelection(Windowed, TenantScoped, CallFilters, FinerFilters):
    """Which recorded calls; those of the last thirty days where no time is given."""


def selection_of(context: Context, principal: Principal, given: CallSelection) -> Selection:
    """The calls that are meant, of those that the principal sees.

    Raises:
        BadInput: the time begins after now, or ends before it begins.
    """
    from otel_finops.insight.traffic import Selection  # noqa: PLC0415 - `--help` must not load the database rooms

    window = given.window()
    to_ns = context.clock.now_ns() if window.to_ns is None else window.to_ns
    from_ns = max(0, to_ns - DAYS * NS_PER_DAY) if window.from_ns is None else window.from_ns
    if from_ns > to_ns:
        raise BadInput("from: it lies ahead; recorded calls are asked about")
    filters = {name: (value,) for name, value in given_filters(given, CallFilters, FinerFilters).items()}
    return Selection(given.tenants(principal), from_ns, to_ns, filters)


def refuse_people(said: Mapping[str, Any]) -> None:
    """Refuse to store what names a person."""
    for name in PEOPLE:
        if said.get(name) is not None:
            raise BadInput(f"{name}: what is saved names no person, so that everybody can be erased; give it when you ask")


# --- answers -----------------------------------------------------------------------------------------------------------


class TokenMix(Output):
    """Tokens of the compared calls, as they were recorded."""

    prompt: Count
    cache_read: Count = Field(description="Of the prompt.")
    cache_write: Count = Field(description="Of the prompt.")
    output: Count
    reasoning: Count = Field(description="Of the output.")
    cache_hit_rate: Ratio | None = Field(description="Share of the prompts that was read from a cache; null without any.")


class LeftOutCalls(Output):
    """Calls that were not compared, for one reason."""

    reason: str
    says: str = Field(description="The reason in words.")
    calls: Count


class PriceRowUsed(Output):
    """A row of the price book by which calls were priced."""

    key: str
    tier: str | None = Field(description="The service tier that was asked for; null: the standard one.")
    own_tier_price: bool = Field(description="False: the list has none for that tier; the standard ones, of a batch half of them, hold.")
    own_cache_price: bool = Field(description="False: the list has no price for cached tokens, they cost what others cost.")
    calls: Count


class RecordedModel(Output):
    """Compared calls of one model as they were recorded."""

    provider: str | None = Field(description="Null, and no model: what is not told apart any more.")
    model: str | None
    calls: Count
    booked_usd: Usd


class ComparedWindow(Output):
    """Over which time."""

    from_: At = Field(alias="from")
    to: At
    finished: bool = Field(description="False: it took too long, and came up to `until`.")
    until: At
    pruned_until: At | None = Field(description="Calls before this were pruned and are not compared; null: none were.")


_REASONS: Final[Mapping[str, str]] = {
    "covered": "a flat fee pays for them, and does so whatever they are",
    "unpriced": "what they cost is not known (pricing.unpriced)",
    "other_mode": "they are no calls of that kind, e.g. embeddings where the model chats",
    "no_price": "no price for what they used",
}


def shown_mix(mix: Mix) -> dict[str, Any]:
    """See `TokenMix`."""
    return {**mix._asdict(), "cache_hit_rate": ratio_text(mix.cache_read, mix.prompt)}


def shown_left_out(compared: Compared) -> list[dict[str, Any]]:
    """See `LeftOutCalls`; most calls first."""
    found = sorted(compared.left_out.items(), key=lambda item: (-item[1], item[0]))
    return [{"reason": reason, "says": _REASONS[reason], "calls": calls} for reason, calls in found if calls]


def shown_targets(targets: Mapping[Target, int]) -> list[dict[str, Any]]:
    """See `PriceRowUsed`; most calls first."""
    return [
        {"key": one.key, "tier": one.tier, "own_tier_price": one.has_tier, "own_cache_price": one.has_cache, "calls": calls}
        for one, calls in sorted(targets.items(), key=lambda item: (-item[1], item[0].key))
    ]


def fraction_of(text: str | None) -> Fraction | None:
    """An exact number of what a `Share` or `Factor` says."""
    return None if text is None else Fraction(text)
