"""Which entries lead from what stands for a span to what should stand (design 4.3): the rules of append-only change.

* Nothing stood: a charge.
* The same row told more of, or its money changed: a correction with the difference. Facts may be filled in, counts may grow.
* Anything that was said is taken back (another role, another model, fewer counts, an estimate, priced to unpriced): reversal and
  charge.
* Another attribution: a reattribution, which moves no money.
* Nothing changed: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Final

from otel_finops.ledger.entry import CORRECTION, ESTIMATED, REATTRIBUTION, REVERSAL, Entry
from otel_finops.ledger.standing import (
    ATTRIBUTION_FIELDS,
    MONEY_FIELDS,
    REAL_FIELDS,
    Standing,
    attribution_of,
    merged_lines,
    negated_lines,
    real_amounts,
)
from otel_finops.pricing.quote import COVERED

_AT: Final = {name: position for position, name in enumerate(Entry._fields)}

_FIXED: Final = ("role", "counted_in", "started_ns")
"""What a row is; another value makes it another row."""
_FILLABLE: Final = (
    "parent_span_id", "operation", "provider", "request_model", "response_model", "service_tier", "region", "region_kind", "speed",
    "streaming", "error_type", "reported_source",
)  # fmt: skip
"""Facts that may be filled in where nothing was known, but not changed."""
_FREE: Final = ("usage_source", "usage_rule", "cost_method", "price_key", "price_match", "price_version", "partial", "unpriced_reason",
                "account", "coverage_id", "duration_ns")  # fmt: skip
"""Facts that a correction may carry in any direction."""


def _getter(names: tuple[str, ...]) -> itemgetter[Any]:
    return itemgetter(*(_AT[name] for name in names))


_fixed: Final = _getter(_FIXED)
_fillable: Final = _getter(_FILLABLE)
_attribution: Final = _getter(ATTRIBUTION_FIELDS)
_money: Final = _getter(MONEY_FIELDS)
_content: Final = _getter((*_FIXED, *_FILLABLE, *_FREE, "usage", *MONEY_FIELDS))


def changes(state: Standing | None, target: Entry | None) -> list[Entry]:
    """The entries to append for one span.

    Args:
        state: what the span's entries add up to; None without entries.
        target: the charge that should stand, its `revision` not yet set; None when no row should stand.
    """
    if state is None:
        return [] if target is None else [target]
    if state.net is None:
        return [] if target is None else [target._replace(revision=state.revision + 1)]
    if target is None:
        return [_reversal(state.net, state.revision + 1)]
    return _differences(state.net, target, state.revision + 1)


def _differences(net: Entry, target: Entry, revision: int) -> list[Entry]:
    same_attribution = _attribution(net) == _attribution(target)
    same_content = _content(net) == _content(target)
    if same_attribution and same_content:
        return []
    if not same_content and not _continues(net, target):
        return [_reversal(net, revision), target._replace(revision=revision + 1)]
    entries = []
    if not same_attribution:
        entries.append(_reattribution(net, target, revision))
        net = net._replace(**attribution_of(target))
    if not same_content:
        entries.append(_correction(net, target, revision + len(entries)))
    return entries


def _continues(net: Entry, target: Entry) -> bool:
    """Nothing that the standing row says is taken back."""
    return (
        _fixed(net) == _fixed(target)
        and not (net.cost_method == ESTIMATED and target.cost_method != ESTIMATED)
        and all(before is None or before == after for before, after in zip(_fillable(net), _fillable(target), strict=True))
        and (net.cost_method == COVERED) == (target.cost_method == COVERED)
        and not any(before is not None and after is None for before, after in _moneys(net, target))
        and all(target.usage.get(unit, 0) >= count for unit, count in net.usage.items())
    )


def _reversal(net: Entry, revision: int) -> Entry:
    """The row as it stands, its corrections included, with money negative and counts positive."""
    return net._replace(
        kind=REVERSAL,
        reverses=net.entry_id,
        revision=revision,
        cost_lines=tuple(line._replace(amount_pico=-line.amount_pico) for line in net.cost_lines),
        **_negated_money(net),
    )


def _correction(net: Entry, target: Entry, revision: int) -> Entry:
    """The target's facts, with the differences of money and counts alone."""
    grown = {unit: count - net.usage.get(unit, 0) for unit, count in target.usage.items()}
    return target._replace(
        kind=CORRECTION,
        revision=revision,
        usage={unit: count for unit, count in grown.items() if count},
        cost_lines=merged_lines((*target.cost_lines, *negated_lines(net.cost_lines))),
        before=net,
        **_money_differences(net, target),
    )


def _reattribution(net: Entry, target: Entry, revision: int) -> Entry:
    """The standing facts under the new attribution, without money, counts and lines."""
    return net._replace(
        kind=REATTRIBUTION,
        revision=revision,
        usage={},
        cost_lines=(),
        cost_method=None,
        unpriced_reason=None,
        before=net,
        **_no_money(),
        **attribution_of(target),
    )


def _negated_money(net: Entry) -> dict[str, Any]:
    return {name: None if amount is None else -amount for name, amount in zip(MONEY_FIELDS, _money(net), strict=True)}


def _moneys(net: Entry, target: Entry) -> Iterator[tuple[int | None, int | None]]:
    """Every amount before and after, those filled in that are not stored."""
    yield net.cost_pico, target.cost_pico
    yield net.reported_pico, target.reported_pico
    if any(getattr(one, name) is not None for one in (net, target) for name in REAL_FIELDS):
        yield from zip(real_amounts(net).values(), real_amounts(target).values(), strict=True)


def _money_differences(net: Entry, target: Entry) -> dict[str, Any]:
    """What to add to each amount; a priced row always says a cost, and an amount that moves as the cost does is not stored."""
    moneys = list(_moneys(net, target))
    cost, reported, *real = [None if new is None else new - (old or 0) for old, new in moneys]
    stored: dict[str, int | None] = dict.fromkeys(REAL_FIELDS)
    for name, amount, (old, new) in zip(REAL_FIELDS, real, moneys[2:], strict=False):
        as_unstored = old == new if target.cost_method == COVERED else amount == cost
        stored[name] = None if as_unstored else amount
    return {"cost_pico": cost, "reported_pico": reported or None, **stored}


def _no_money() -> dict[str, Any]:
    return dict.fromkeys(MONEY_FIELDS)
