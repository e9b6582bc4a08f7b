"""What calls used and cost, from roll-ups: by hour or day, provider, model and how they were priced, with all their token counts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import NS_PER_DAY
from otel_finops.ledger.rollups import DAY, HOUR
from otel_finops.ledger.tables import DIMENSIONS, ROLLUP_TOKENS
from otel_finops.store.unit_of_work import Transaction

_KEYS: Final = ("r.bucket_ns", "d.provider", "d.model", "d.cost_method", "d.unpriced_reason")
_SUMS: Final = (
    "SUM(r.cost_usd - r.cost_reversed_usd), SUM(r.cost_pico), SUM(r.cost_reversed_pico), SUM(r.calls - r.calls_reversed), "
    + ", ".join(f"SUM(r.{unit} - r.{unit}_reversed)" for unit in ROLLUP_TOKENS)
)


class RolledUsage(NamedTuple):
    """Standing calls of one bucket that were priced alike.

    Attributes:
        bucket_ns: start of the hour or day.
        provider, model, cost_method, unpriced_reason: "" for not known.
        usage: token counts by unit, zeros left out; as in `genai.usage`, so that some are parts of others.
    """

    bucket_ns: int
    provider: str
    model: str
    cost_method: str
    unpriced_reason: str
    calls: int
    cost_pico: int
    usage: Mapping[str, int]


def rolled_usage(
    transaction: Transaction, tenants: Collection[str] | None, from_ns: int, to_ns: int, filters: Mapping[str, Collection[str]]
) -> Iterator[RolledUsage]:
    """Sums of whole hours in [from_ns, to_ns): by day where both ends are days (UTC), else by hour.

    Args:
        tenants: whose calls; None for all.
        filters: allowed values by dimension, "" for not known.
    """
    level = HOUR if from_ns % NS_PER_DAY or to_ns % NS_PER_DAY else DAY
    given = {**filters, **({} if tenants is None else {"tenant": tenants})}
    assert set(given) <= set(DIMENSIONS), given
    conditions = ["r.level = ?", "r.bucket_ns >= ?", "r.bucket_ns < ?"]
    conditions += [f"d.{name} IN ({', '.join('?' * len(allowed)) or 'NULL'})" for name, allowed in given.items()]
    values = [value for allowed in given.values() for value in sorted(allowed)]
    keys = ", ".join(_KEYS)
    sql = (
        f"SELECT {keys}, {_SUMS} FROM rollups r JOIN rollup_dims d ON d.dim_no = r.dim_no WHERE {' AND '.join(conditions)} GROUP BY {keys}"
    )
    for row in transaction.iterate(sql, (level, from_ns, to_ns, *values)):
        usd, plus, minus, calls, *counts = (int(value or 0) for value in row[len(_KEYS) :])
        usage = {unit: count for unit, count in zip(ROLLUP_TOKENS, counts, strict=True) if count}
        if calls or usage or usd or plus - minus:
            provider, model, method, reason = row[1 : len(_KEYS)]
            yield RolledUsage(int(row[0]), provider, model, method, reason, calls, usd * PICO_PER_USD + plus - minus, usage)
