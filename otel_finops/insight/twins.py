"""Calls that may have been booked twice: equal counts of one model at the same time, told by two services or two senders.

Within a sender's realm the ledger merges what it can prove to be one call. What is left, an application and a gateway that send by
credentials of two tenants, or that know nothing of each other's ids, looks like this.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from otel_finops.base.errors import TooLarge
from otel_finops.base.limits import TWIN_CALLS_MAX, TWIN_EXAMPLES_MAX
from otel_finops.ledger.call_keys import APART_NS
from otel_finops.ledger.spend import Question
from otel_finops.ledger.spend_entries import changed_calls, standing_charges
from otel_finops.store.unit_of_work import Transaction

_SELECT: Final = (
    "SELECT COALESCE(response_model, request_model), usage, started_ns, realm, service, trace_id, COALESCE(cost_pico, 0) FROM entries e "
    "WHERE tokens > 0 AND "
)


class Teller(NamedTuple):
    """Who told of a call, and when it began."""

    started_ns: int
    realm: str
    service: str
    trace_id: str
    cost_pico: int

    @property
    def who(self) -> tuple[str, str]:
        """Realm and service."""
        return self.realm, self.service


class Twin(NamedTuple):
    """Two of them; the later one is what may be too much."""

    model: str
    first: Teller
    second: Teller


class Twins(NamedTuple):
    """What was found.

    Attributes:
        calls, cost_pico: the later ones of all pairs.
        looked_at: standing calls with counts in that time.
        examples: the dearest pairs.
    """

    calls: int
    cost_pico: int
    looked_at: int
    examples: tuple[Twin, ...]


def find_twins(
    transaction: Transaction, tenants: Collection[str] | None, from_ns: int, to_ns: int, filters: Mapping[str, Collection[str]]
) -> Twins:
    """Pairs among the standing calls that began in [from_ns, to_ns); each call is in one pair at most.

    Raises:
        TooLarge: more than `limits.TWIN_CALLS_MAX` calls.
    """
    groups: dict[tuple[str, str], list[Teller]] = {}
    count = 0
    for key, teller in _tellers(transaction, Question(tenants, (), from_ns, to_ns, filters)):
        count += 1
        if count > TWIN_CALLS_MAX:
            raise TooLarge(f"more than {TWIN_CALLS_MAX} calls; narrow the time, or name a model")
        groups.setdefault(key, []).append(teller)
    found = [Twin(model, *pair) for (model, _), tellers in groups.items() if len(tellers) > 1 for pair in _pairs(sorted(tellers))]
    found.sort(key=lambda twin: (-twin.second.cost_pico, twin.second))
    return Twins(len(found), sum(twin.second.cost_pico for twin in found), count, tuple(found[:TWIN_EXAMPLES_MAX]))


def _tellers(transaction: Transaction, question: Question) -> Iterator[tuple[tuple[str, str], Teller]]:
    """Every call with counts, under its model and counts."""
    lower, upper = question.from_ns or 0, question.to_ns or 0
    where, values = standing_charges(transaction, question)
    for model, usage, started_ns, realm, service, trace_id, cost in transaction.iterate(
        _SELECT + where, (lower, upper, lower, upper, *values)
    ):  # fmt: skip
        yield (model or "", usage), Teller(int(started_ns), realm, service or "", bytes(trace_id).hex(), int(cost))
    for net in changed_calls(transaction, question, lower, upper):
        if net.usage:
            usage = "{" + ",".join(f'"{unit}":{count}' for unit, count in sorted(net.usage.items())) + "}"
            key = net.response_model or net.request_model or "", usage
            yield key, Teller(net.started_ns, net.realm, net.service or "", net.trace_id, net.cost_pico or 0)


def _pairs(tellers: list[Teller]) -> Iterator[tuple[Teller, Teller]]:
    """Neighbours in time that are told by different services or senders."""
    waiting: Teller | None = None
    for teller in tellers:
        if waiting is not None and teller.who != waiting.who and teller.started_ns - waiting.started_ns <= APART_NS:
            yield waiting, teller
            waiting = None
        else:
            waiting = teller
