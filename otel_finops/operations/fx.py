"""Exchange rates: importing them and looking them up."""

from __future__ import annotations

import base64
from typing import Annotated

from pydantic import AfterValidator, Field

from otel_finops.base.errors import BadInput
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Instant, Name
from otel_finops.operations.registry import Changed, Input, Json, Output, operation
from otel_finops.operations.shapes import Count
from otel_finops.settings.money import currency_code

CurrencyCode = Annotated[str, Field(max_length=3), AfterValidator(currency_code)]
_CONTENT_CHARS_MAX = 44 * 1024 * 1024
_DIGITS = 12


class RatesFile(Input):
    """A file of the European Central Bank's reference rates."""

    from_: str | None = Field(
        default=None,
        alias="from",
        max_length=2_048,
        description="File or https:// URL: eurofxref-hist.zip, or the CSV or XML inside of it. On the command line only.",
    )
    content: str | None = Field(
        default=None, max_length=_CONTENT_CHARS_MAX, description="The file itself in base64; `from` is its name then."
    )
    sha256: str | None = Field(default=None, max_length=64, description="Digest that the file must have.")


class ImportedRates(Output):
    """What an import did; nothing that stood is ever changed, the newest rate of a day holds."""

    origin: str
    first_day: str
    last_day: str
    currencies: Count
    new: Count
    changed: Count = Field(description="Rates of days that stood at another value.")
    unchanged: Count


@operation(
    "fx.import",
    "fx/import",
    takes=RatesFile,
    output=ImportedRates,
    permission="admin",
    feature="fx",
    changes=True,
    runs=True,
    agents=False,
    summary="Import the European Central Bank's exchange rates from a file.",
)
def import_rates(context: Context, principal: Principal, given: RatesFile) -> Changed:
    """Store what is not known yet. Amounts and fees of all tenants are converted by it, so only those who see all of them may ask."""
    principal.must_see_all("fx.import changes the rates by which all tenants' amounts are converted")
    content, origin = _file_of(context, given)
    done = context.money.import_rates(content, origin, principal.who, given.sha256)
    answer = {"origin": origin, **done._asdict()}
    return Changed(answer, None, answer)


def _file_of(context: Context, given: RatesFile) -> tuple[bytes, str]:
    if given.content is None:
        if given.from_ is None:
            raise BadInput("give `from`, a file or URL, or `content`, the file itself in base64")
        return context.money.fetched(given.from_, pinned=given.sha256 is not None)
    try:
        return base64.b64decode(given.content, validate=True), given.from_ or "content"
    except ValueError:  # of characters beyond ASCII too
        raise BadInput("content: no base64") from None


class RateQuery(Input):
    """Which rate; without a currency the days for which there are rates."""

    currency: CurrencyCode | None = Field(default=None, description="ISO code, e.g. EUR.")
    at: Instant | None = Field(default=None, description="The day (UTC); today when it is not given.")


class Rate(Output):
    """What one US dollar is in a currency."""

    currency: Name
    day: str
    rate_day: str = Field(description="The day of the rate that holds: the last one before, at most 7 days, where the day itself has none.")
    per_usd: str = Field(description="Cut at the twelfth decimal place; conversions use the exact fraction.")
    exact: str = Field(description="As a fraction.")


class Known(Output):
    """The days for which a currency has rates."""

    currency: Name
    first_day: str
    last_day: str
    days: Count


class Rates(Output):
    """A rate, or all currencies."""

    rate: Rate | None
    currencies: list[Known] | None = Field(description="Null when a rate was asked for.")


@operation(
    "fx.rates",
    "fx/rates",
    takes=RateQuery,
    output=Rates,
    permission="view",
    feature="fx",
    summary="Show the exchange rate that holds on a day, or the currencies and days that have rates.",
)
def rates(context: Context, principal: Principal, given: RateQuery) -> Json:
    """The rate of the day; a missing one is an error that says what to import."""
    if given.currency is None:
        return {"rate": None, "currencies": [span._asdict() for span in context.money.currencies()]}
    day = format_ns(context.clock.now_ns() if given.at is None else parse_ns(given.at))[:10]
    found = context.money.rate(given.currency, day)
    whole, rest = divmod(found.per_usd.numerator * 10**_DIGITS // found.per_usd.denominator, 10**_DIGITS)
    text = f"{whole}.{rest:0{_DIGITS}d}".rstrip("0").rstrip(".")
    shown = {"currency": found.currency, "day": day, "rate_day": found.rate_day, "per_usd": text, "exact": str(found.per_usd)}
    return {"rate": shown, "currencies": None}
