"""What a bill and the ledger say of the same calls, and the gap between them by cause.

Values in, values out. A *cell* is one model in one stretch of time. Its gap, billed minus booked, is cut into causes whose amounts add
up to it to the pico:

* What the bill has quantities for is valued at the bill's own prices. So the gap falls into two parts that need no guess: what was
  seen, at other prices (`price_difference`), and quantities that differ.
* Of the quantities, those of calls that have counts and no price are known exactly (`unpriced`). The rest belongs to calls of which the
  ledger has no counts, or which it does not have at all, and is divided among them by their number: they cost what others do.
* A bill without quantities leaves only that last way: such calls are expected to cost what the others cost, and what goes beyond that
  stays `unexplained`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.base.money import divide_half_even

Cause: TypeAlias = Literal[
    "missing_usage", "cut_streams", "sampling", "not_seen", "unpriced", "double_count", "not_on_bill", "usage_difference",
    "price_difference", "rounding", "unexplained",
]  # fmt: skip
CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)
MEANINGS: Final[Mapping[Cause, str]] = {
    "missing_usage": "calls whose spans say no token counts, those that were estimated included",
    "cut_streams": "streams that were cut off, and time-outs: billed, and without counts",
    "sampling": "calls on the bill of which no span came, beside others of the model that did: sampled away, lost, or not instrumented",
    "not_seen": "a model of which the ledger has no call at all: nothing that uses it sends spans",
    "unpriced": "calls with counts and without a price: an unknown model, or a rate that is missing",
    "double_count": "more in the ledger than on the bill: calls that were booked twice",
    "not_on_bill": "a model that the bill does not have: another account's, or another name on the bill",
    "usage_difference": "as many calls as the bill has, with other token counts",
    "price_difference": "what both have, at other prices",
    "rounding": "amounts that the bill rounds",
    "unexplained": "what nothing accounts for",
}

_TOLERANCE: Final = Fraction(1, 4)
"""Calls without counts cost what others do, give or take so much: within it the gap is theirs, beyond it something else is."""
_ROUNDED_PICO: Final = 4
"""What the ledger's own roundings can come to in a call: half a pico a unit."""


class Units(NamedTuple):
    """What a bill says of one unit: quantity and pico-USD, None where it does not."""

    quantity: int | None = None
    amount_pico: int | None = None


class BillSide(NamedTuple):
    """A cell of the bill.

    Attributes:
        amount_pico: all of it, pico-USD; None where the bill has quantities alone.
        units: by unit, see `insight.bills.line`.
        requests: calls, None where the bill does not tell.
        slack_pico: by how much roundings of the bill may make the amount wrong.
    """

    amount_pico: int | None
    units: Mapping[str, Units]
    requests: int | None = None
    slack_pico: int = 0


class LedgerSide(NamedTuple):
    """The same cell of the ledger, by what is known of its calls.

    Attributes:
        priced, priced_pico, quantities: calls with a cost that was computed or stated, their cost, their counts by unit.
        estimated, estimated_pico: calls whose counts were missing and are estimates.
        missing, cut: calls without counts and without a cost.
        unpriced, unpriced_quantities: calls with counts and without a cost.
        failed: calls that the provider answered with an error, which cost nothing and are on no bill.
        weights: what one of a unit costs by the price book, for bills that price no unit by itself.
    """

    priced: int = 0
    priced_pico: int = 0
    quantities: Mapping[str, int] = {}
    estimated: int = 0
    estimated_pico: int = 0
    missing: int = 0
    cut: int = 0
    unpriced: int = 0
    unpriced_quantities: Mapping[str, int] = {}
    failed: int = 0
    weights: Mapping[str, Fraction] = {}

    @property
    def cost_pico(self) -> int:
        """What is booked."""
        return self.priced_pico + self.estimated_pico

    @property
    def billable(self) -> int:
        """Calls that a provider bills."""
        return self.priced + self.estimated + self.missing + self.cut + self.unpriced

    @property
    def countless(self) -> int:
        """Calls of which the ledger has no counts."""
        return self.estimated + self.missing + self.cut


class Verdict(NamedTuple):
    """What became of a cell.

    Attributes:
        billed_pico, booked_pico: the two sides; `billed_pico` of a bill without amounts is its quantities at the ledger's prices.
        causes: pico-USD by cause, those that are 0 left out; they add up to billed minus booked.
        valued: the bill had no amounts.
    """

    billed_pico: int
    booked_pico: int
    causes: Mapping[Cause, int]
    valued: bool = False

    @property
    def gap_pico(self) -> int:
        """Billed minus booked: negative where the ledger has more than the bill."""
        return self.billed_pico - self.booked_pico


def judge(bill: BillSide, ledger: LedgerSide) -> Verdict:
    """Compare the two sides of a cell."""
    valued = bill.amount_pico is None
    prices, stray = _bill_prices(bill, ledger)
    billed = bill.amount_pico if bill.amount_pico is not None else _whole(sum(_worth(bill, prices).values(), Fraction(0)))
    gap = billed - ledger.cost_pico
    if not ledger.billable:
        parts = _one_sided(bill, gap)
    elif prices:
        parts = _with_quantities(bill, ledger, prices, stray)
    else:
        parts = _by_amounts(bill, ledger, Fraction(gap))
    return Verdict(billed, ledger.cost_pico, _rounded(parts, gap), valued)


def absent_from_bill(ledger: LedgerSide) -> Verdict:
    """A cell that the bill does not have."""
    booked = ledger.cost_pico
    return Verdict(0, booked, {"not_on_bill": -booked} if booked else {})


# --- prices by the bill -----------------------------------------------------------------------------------------------

Prices: TypeAlias = Mapping[str, Fraction]
Parts: TypeAlias = dict[Cause, Fraction]


def _bill_prices(bill: BillSide, ledger: LedgerSide) -> tuple[Prices, Fraction]:
    """What the bill asks for one of each unit, and what of its amount no quantity stands for; no prices without quantities.

    Units that have no amount of their own share what is left, in the proportion of the price book.
    """
    counted = {unit: said for unit, said in bill.units.items() if said.quantity}
    if not counted:
        return {}, Fraction(0)
    own = {
        unit: Fraction(said.amount_pico, said.quantity) for unit, said in counted.items() if said.amount_pico is not None and said.quantity
    }
    others = {unit: said.quantity or 0 for unit, said in counted.items() if unit not in own}
    weights = {unit: _weight(ledger, unit) for unit in others}
    weighed = sum((weights[unit] * count for unit, count in others.items()), Fraction(0))
    if bill.amount_pico is None:
        scale, left = _own_scale(ledger), Fraction(0)
    else:
        left = bill.amount_pico - sum((own[unit] * (counted[unit].quantity or 0) for unit in own), Fraction(0))
        scale = left / weighed if weighed and left >= 0 else Fraction(0)
    prices = {**own, **{unit: weights[unit] * scale for unit in others}}
    return {**_own_prices(ledger), **prices}, left if not weighed or left < 0 else Fraction(0)


def _own_prices(ledger: LedgerSide) -> Prices:
    """Of units that the bill does not have."""
    scale = _own_scale(ledger)
    return {unit: _weight(ledger, unit) * scale for unit in (*ledger.quantities, *ledger.unpriced_quantities)}


def _weight(ledger: LedgerSide, unit: str) -> Fraction:
    """By the price book; of units that it has no price for the mean of those it has."""
    known = ledger.weights
    return known[unit] if unit in known else sum(known.values(), Fraction(0)) / len(known) if known else Fraction(1)


def _own_scale(ledger: LedgerSide) -> Fraction:
    """What the ledger charged of what the price book's plain rates come to: tiers, discounts and agreed prices."""
    plain = sum((_weight(ledger, unit) * count for unit, count in ledger.quantities.items()), Fraction(0))
    return Fraction(ledger.priced_pico) / plain if plain and ledger.priced_pico else Fraction(1)


def _worth(bill: BillSide, prices: Prices) -> dict[str, Fraction]:
    return {unit: price * (said.quantity or 0) for unit, price in prices.items() if (said := bill.units.get(unit)) is not None}


# --- causes -----------------------------------------------------------------------------------------------------------


def _one_sided(bill: BillSide, gap: int) -> Parts:
    """Nothing in the ledger that could be billed."""
    return {"rounding" if abs(gap) <= bill.slack_pico else "not_seen": Fraction(gap)}


def _with_quantities(bill: BillSide, ledger: LedgerSide, prices: Prices, stray: Fraction) -> Parts:
    """What was seen at the bill's prices, and what was not seen by what the bill says it costs."""
    worth = sum(_worth(bill, prices).values(), Fraction(0))
    at_bill, unpriced = (_valued(prices, quantities) for quantities in (ledger.quantities, ledger.unpriced_quantities))
    parts = _parts_of_quantities(bill, ledger, worth - at_bill - unpriced, at_bill / ledger.priced if ledger.priced else None)
    price = at_bill - ledger.priced_pico
    found: tuple[tuple[Cause, Fraction, int], ...] = (
        ("unpriced", unpriced, -1),
        ("price_difference", price, bill.slack_pico + _ROUNDED_PICO * ledger.priced),
        ("unexplained", stray, bill.slack_pico),
    )
    for cause, amount, slack in found:
        named: Cause = "rounding" if abs(amount) <= slack else cause
        parts[named] = parts.get(named, Fraction(0)) + amount
    return _less_estimates(parts, ledger)


def _valued(prices: Prices, quantities: Mapping[str, int]) -> Fraction:
    """Quantities at the bill's prices."""
    return sum((prices[unit] * count for unit, count in quantities.items()), Fraction(0))


def _parts_of_quantities(bill: BillSide, ledger: LedgerSide, rest: Fraction, mean: Fraction | None) -> Parts:
    """Divide what quantities the ledger lacks (or has too many of).

    Args:
        rest: what they cost by the bill.
        mean: what a call with counts costs; None without one.
    """
    if bill.requests is not None:
        return _with_requests(bill.requests - ledger.billable, ledger, rest, mean)
    if rest < 0:
        return {"double_count" if _has_more_of_all(bill, ledger) else "usage_difference": rest}
    expected = None if mean is None else mean * ledger.countless
    if ledger.countless and (expected is None or abs(rest - expected) <= _TOLERANCE * expected or rest < expected):
        return _among_countless(ledger, rest)
    if expected:
        return {**_among_countless(ledger, expected), "sampling": rest - expected}
    return {"sampling": rest}


def _with_requests(unseen: int, ledger: LedgerSide, rest: Fraction, mean: Fraction | None) -> Parts:
    """The same where the bill says how many calls there were: `unseen` more than in the ledger."""
    if unseen < 0:
        double = (mean or Fraction(0)) * unseen
        if rest < double or (rest < 0 and not ledger.countless):
            return {"double_count": rest}
        left = rest - double
        return {"double_count": double, **(_among_countless(ledger, left) if ledger.countless else {"usage_difference": left})}
    if rest < 0 or not (unseen or ledger.countless):
        return {"usage_difference": rest}
    share = rest / (unseen + ledger.countless)
    return {**_among_countless(ledger, share * ledger.countless), "sampling": share * unseen}


def _has_more_of_all(bill: BillSide, ledger: LedgerSide) -> bool:
    """Calls that were booked twice add to every unit; counts that were read wrongly do not."""
    seen, unpriced = ledger.quantities, ledger.unpriced_quantities
    return all(seen.get(unit, 0) + unpriced.get(unit, 0) >= (said.quantity or 0) for unit, said in bill.units.items())


def _among_countless(ledger: LedgerSide, amount: Fraction) -> Parts:
    """Divide an amount among the calls without counts, by their number."""
    if not ledger.countless:
        return {}
    cut = amount * ledger.cut / ledger.countless
    return {"cut_streams": cut, "missing_usage": amount - cut}


def _less_estimates(parts: Parts, ledger: LedgerSide) -> Parts:
    """What estimated calls cost less what is booked for them."""
    parts["missing_usage"] = parts.get("missing_usage", Fraction(0)) - ledger.estimated_pico
    return parts


def _by_amounts(bill: BillSide, ledger: LedgerSide, gap: Fraction) -> Parts:
    """A bill without quantities: calls that lack something are expected to cost what others cost."""
    if abs(gap) <= bill.slack_pico + _ROUNDED_PICO * ledger.priced and not (ledger.countless or ledger.unpriced):
        return {"rounding": gap}
    lacking = gap + ledger.estimated_pico
    unseen = 0 if bill.requests is None else bill.requests - ledger.billable
    if lacking < 0:
        return _less_estimates(_too_much(ledger, lacking, unseen), ledger)
    counts: dict[Cause, int] = {
        "unpriced": ledger.unpriced,
        "cut_streams": ledger.cut,
        "missing_usage": ledger.missing + ledger.estimated,
        "sampling": max(unseen, 0),
    }
    wanting = sum(counts.values())
    if not wanting:
        return _less_estimates({"unexplained": lacking}, ledger)
    explained = _explained(ledger, lacking, wanting)
    parts: Parts = {cause: explained * count / wanting for cause, count in counts.items()}
    return _less_estimates({**parts, "unexplained": lacking - explained}, ledger)


def _explained(ledger: LedgerSide, lacking: Fraction, wanting: int) -> Fraction:
    """How much of what is lacking these many calls account for."""
    if not ledger.priced:
        return lacking
    expected = Fraction(ledger.priced_pico, ledger.priced) * wanting
    return lacking if lacking <= expected * (1 + _TOLERANCE) else expected


def _too_much(ledger: LedgerSide, lacking: Fraction, unseen: int) -> Parts:
    """The ledger has more than the bill, which has no quantities: calls that the bill does not have were booked twice."""
    if unseen >= 0 or not ledger.priced:
        return {"unexplained": lacking}
    double = max(lacking, Fraction(ledger.priced_pico, ledger.priced) * unseen)
    if abs(lacking - double) <= _TOLERANCE * abs(double):
        double = lacking
    return {"double_count": double, "unexplained": lacking - double}


# --- adding up --------------------------------------------------------------------------------------------------------


def _rounded(parts: Mapping[Cause, Fraction], gap: int) -> Mapping[Cause, int]:
    """Whole pico by cause, largest remainder to `rounding`, so that they add up to the gap."""
    whole = {cause: _whole(amount) for cause, amount in parts.items()}
    rest = gap - sum(whole.values())
    whole["rounding"] = whole.get("rounding", 0) + rest
    return {cause: whole[cause] for cause in CAUSES if whole.get(cause)}


def _whole(amount: Fraction) -> int:
    return divide_half_even(amount.numerator, amount.denominator)


def added(verdicts: Iterable[Verdict]) -> Verdict:
    """The sum of cells."""
    billed = booked = 0
    causes: dict[Cause, int] = {}
    valued = False
    for one in verdicts:
        billed, booked, valued = billed + one.billed_pico, booked + one.booked_pico, valued or one.valued
        for cause, amount in one.causes.items():
            causes[cause] = causes.get(cause, 0) + amount
    return Verdict(billed, booked, {cause: causes[cause] for cause in CAUSES if causes.get(cause)}, valued)
