"""Standing calls with what was charged for each, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import orjson

from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.spend import Question
from otel_finops.ledger.spend_entries import changed_calls, standing_charges
from otel_finops.pricing.quote import CostLine
from otel_finops.store.unit_of_work import Transaction

_SELECT: Final = (
    "SELECT tenant, agent, provider, COALESCE(response_model, request_model), cost_method, tokens, cost_lines FROM entries e "
    "WHERE cost_pico <> 0 AND trace_no % ? = 0 AND "
)


class LinedCall(NamedTuple):
    """A call that cost something; `lines` are (unit, quantity, rate, pico-USD), and add up to its cost."""

    tenant: str
    agent: str | None
    provider: str | None
    model: str | None
    cost_method: str | None
    tokens: int
    lines: Sequence[CostLine]


def lined_calls(transaction: Transaction, question: Question, lower: int, upper: int, every: int = 1) -> Iterator[LinedCall]:
    """Standing calls that started in [lower, upper) and cost something, in no order.

    Args:
        question: whose, and filters; users and sessions by reference.
        every: only those of one in so many traces.
    """
    where, values = standing_charges(transaction, question)
    for *said, lines in transaction.iterate(_SELECT + where, (every, lower, upper, lower, upper, *values)):
        yield LinedCall._make((*said, [CostLine(*line) for line in orjson.loads(lines)]))
    for net in changed_calls(transaction, question, lower, upper):
        if net.cost_pico and net.trace_no % every == 0:
            model = net.response_model or net.request_model
            yield LinedCall(net.tenant, net.agent, net.provider, model, net.cost_method, total_tokens(net.usage), net.cost_lines)
