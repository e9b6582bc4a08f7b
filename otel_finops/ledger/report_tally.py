"""Counts what became of stated costs, as charges are booked: how many stand, and how far they are from the computed price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TypeAlias

from otel_finops.ledger.entry import CHARGE, ROLE_CALL, Entry
from otel_finops.ledger.standing import ATTRIBUTION_FIELDS, real_amounts
from otel_finops.pricing.quote import REPORTED
from otel_finops.pricing.reports import ReportRules
from otel_finops.pricing.selectors import PaidCall
from otel_finops.store.unit_of_work import Transaction

Counts: TypeAlias = Mapping[str, int]
"""Charges by verdict (`pricing.reports.Verdict`)."""
Differences: TypeAlias = Mapping[tuple[str, str], int]
"""Pico-USD by verdict and sign: `above` where the stated cost is greater than the computed price, else `below`."""


class ReportTally:
    """A projection that keeps sums of this process in memory; they count once the entries are committed."""

    def __init__(self, rules: ReportRules) -> None:
        self._rules = rules
        self._counts: Counter[str] = Counter()
        self._differences: Counter[tuple[str, str]] = Counter()
        self._guard = Lock()

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """See `Projection.apply`."""
        stated = [entry for entry in entries if entry.reported_pico is not None and entry.kind == CHARGE and entry.role == ROLE_CALL]
        if stated:
            transaction.after_commit(lambda: self._count(stated))

    def read(self) -> tuple[Counts, Differences]:
        """The sums so far."""
        with self._guard:
            return dict(self._counts), dict(self._differences)

    def _count(self, stated: Sequence[Entry]) -> None:
        with self._guard:
            for entry in stated:
                computed = real_amounts(entry)["contracted_pico"]
                verdict = "stands" if entry.cost_method == REPORTED else self._rules.verdict(_paid(entry), computed) or ""
                self._counts[verdict] += 1
                difference = 0 if computed is None else (entry.reported_pico or 0) - computed
                if difference:
                    self._differences[verdict, "above" if difference > 0 else "below"] += abs(difference)


def _paid(entry: Entry) -> PaidCall:
    said = {name: getattr(entry, name) for name in ATTRIBUTION_FIELDS if name != "tags"}
    names = tuple([name for name in (entry.response_model, entry.request_model, entry.price_key) if name is not None])
    return PaidCall(
        entry.realm, entry.provider, names, entry.started_ns, said, entry.tags, entry.reported_pico, entry.reported_source
    )  # fmt: skip
