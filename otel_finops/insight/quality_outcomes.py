"""Outcomes in the ledger as what they say of models: how often the work succeeded that one model alone did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import OUTCOMES_READ_MAX
from otel_finops.insight.outcome_reads import OutcomeQuery, read_outcomes
from otel_finops.insight.outcomes import Outcome
from otel_finops.insight.quality import ModelOutcomes
from otel_finops.insight.traffic import Selection
from otel_finops.store.unit_of_work import Transaction

_FILTERS: Final = ("agent", "workflow", "service", "environment")
"""By what both calls and outcomes are selected; other filters are about calls alone."""


class _Key(NamedTuple):
    provider: str | None
    model: str
    task: str | None


def outcomes_by_model(transaction: Transaction, selection: Selection) -> list[ModelOutcomes]:
    """Successes and failures by model, of each kind and of all; what several models did together says nothing of one of them.

    Raises:
        BadInput: more outcomes than `limits.OUTCOMES_READ_MAX`.
    """
    found: dict[_Key, list[int]] = {}
    newest: dict[_Key, int] = {}
    filters = {name: allowed for name, allowed in selection.filters.items() if name in _FILTERS}
    query = OutcomeQuery(selection.tenants, selection.from_ns, selection.to_ns)
    for number, one in enumerate(read_outcomes(transaction, query)):
        if number >= OUTCOMES_READ_MAX:
            raise BadInput(f"more than {OUTCOMES_READ_MAX} outcomes; set quality.outcome_days to fewer days, or ask for one tenant")
        provider, model = one.made_by
        if model is None or not _is_wanted(one, filters):
            continue
        for key in (_Key(provider, model, one.name), _Key(provider, model, None)):
            found.setdefault(key, [0, 0])[not one.success] += 1
            newest[key] = max(newest.get(key, 0), one.at_ns)
    return [ModelOutcomes(key.provider, key.model, won, lost, key.task, newest[key]) for key, (won, lost) in found.items()]


def _is_wanted(one: Outcome, filters: Mapping[str, Any]) -> bool:
    return all((getattr(one, name) or "") in allowed for name, allowed in filters.items())
