"""What a dashboard shows: the figures of a time beside those of the time before, their course, and what costs most.

Everything is summed as `ledger.spend` sums it, so the figures are those of a spend report over the same time, to the picodollar.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.base.limits import DASHBOARD_CELLS_MAX
from otel_finops.ledger.course import Span, cells_of
from otel_finops.ledger.journal import pending
from otel_finops.ledger.reader import SUBJECT_KEYS, by_reference
from otel_finops.ledger.spend import Key, Question, Tallies, Tally, tally
from otel_finops.ledger.spend_entries import failed_calls
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_KINDS: Final = ("provider", "model")


class Figures(NamedTuple):
    """Sums over the standing calls of a time.

    Attributes:
        cost_pico: in the money that was asked for.
        calls, tokens: all of them; prompt and output, parts not added.
        models: how many different ones, by provider and name.
        unpriced_calls, unpriced_tokens: without such an amount.
        failed_calls: answered with an error.
        prompt, cache_read: tokens of prompts, and those of them that came from a cache.
    """

    cost_pico: int = 0
    calls: int = 0
    tokens: int = 0
    models: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0
    failed_calls: int = 0
    prompt: int = 0
    cache_read: int = 0


class Compared(NamedTuple):
    """Figures of a time and of the time before."""

    span: Span
    figures: Figures
    before_span: Span
    before: Figures


class Ranked(NamedTuple):
    """One of what costs most; `name` None: not known. `before_pico`: its cost in the time before."""

    name: str | None
    sums: Tally
    before_pico: int


class Ranking(NamedTuple):
    """What costs most, dearest first.

    Attributes:
        rows: as many as were asked for.
        total, before_pico: of everything, in the time and in the time before.
        others: how many more there are.
        rest: their sums.
        rest_before_pico: what all but the rows cost in the time before.
    """

    rows: tuple[Ranked, ...]
    total: Tally
    before_pico: int
    others: int
    rest: Tally
    rest_before_pico: int


class Line(NamedTuple):
    """One part of a course; `name` None: not known, or, the last one of a course with `rest`, all others together."""

    name: str | None
    rest: bool
    sums: Tally


class Course(NamedTuple):
    """Sums of one piece of time after the other.

    Attributes:
        spans: the pieces.
        sums: of each piece, zeros where there was nothing.
        lines: what it is split by, dearest first, all others last; empty without a split.
        parts: for each piece the sums of each line.
    """

    spans: tuple[Span, ...]
    sums: tuple[Tally, ...]
    lines: tuple[Line, ...] = ()
    parts: tuple[tuple[Tally, ...], ...] = ()


class Dashboard:
    """Answers from one database; every method reads one snapshot. Whose calls are meant stands in the question.

    Raises of all methods:
        BadInput: an unknown key, or too much to show.
    """

    def __init__(self, store: Store, subjects: Subjects) -> None:
        self._store = store
        self._subjects = subjects

    def kpis(self, asked: Question, spans: Sequence[tuple[Span, Span]]) -> tuple[list[Compared], int]:
        """The figures of each time beside those of the time before, and what waits to be settled, pico-USD.

        Args:
            asked: whose calls, and which; its own time and groups do not count.
        """
        with self._store.read() as transaction:
            question = _referenced(transaction, asked)
            found: dict[Span, Figures] = {}
            for span in {span for both in spans for span in both}:
                found[span] = _figures(transaction, question, span)
            waiting = pending(transaction, asked.tenants)[0]
        return [Compared(span, found[span], before, found[before]) for span, before in spans], waiting

    def top(self, asked: Question, by: str, span: Span, before: Span, limit: int) -> Ranking:
        """What costs most by one key, with its cost in the time before."""
        with self._store.read() as transaction:
            question = _referenced(transaction, asked)
            now, then = (_tallied(transaction, question, (by,), one) for one in (span, before))
            people = self._people(transaction, by, {**now, **then})
            now, then = people.merged(now), people.merged(then)
            ordered = _dearest(now)
            shown = ordered[:limit]
        rows = tuple(Ranked(people.name(key), now[key], then[key].cost_pico if key in then else 0) for key in shown)
        total, total_before = _sum(now.values()), sum(one.cost_pico for one in then.values())
        rest = _sum(now[key] for key in ordered[limit:])
        return Ranking(rows, total, total_before, len(ordered) - len(rows), rest, total_before - sum(row.before_pico for row in rows))

    def trend(self, asked: Question, spans: Sequence[Span], split: str | None, top: int) -> Course:
        """The sums of pieces that follow each other without gaps; with a split, those of the dearest `top` and of all others."""
        whole = spans[0][0], spans[-1][1]
        with self._store.read() as transaction:
            question = _referenced(transaction, asked)
            sums = cells_of(transaction, question, spans)
            totals = tuple(sums.get((place,), Tally()) for place in range(len(spans)))
            if split is None:
                return Course(tuple(spans), totals)
            found = _tallied(transaction, question, (split,), whole)
            people = self._people(transaction, split, found)
            ranked = people.merged(found)
            shown = _dearest(ranked)[:top]
            kept = question._replace(group_by=(split,), filters={**question.filters, split: people.values(shown)})
            cells = people.merged_cells(cells_of(transaction, kept, spans)) if shown else {}
        lines = [Line(people.name(key), False, ranked[key]) for key in shown]
        parts = [[cells.get((place, *key), Tally()) for key in shown] for place in range(len(spans))]
        if len(ranked) > len(shown):
            rests = [_less(total, row) for total, row in zip(totals, parts, strict=True)]
            lines.append(Line(None, True, _sum(rests)))
            parts = [[*row, rest] for row, rest in zip(parts, rests, strict=True)]
        return Course(tuple(spans), totals, tuple(lines), tuple(tuple(row) for row in parts))

    def _people(self, transaction: Transaction, by: str, keys: Iterable[Key]) -> _People:
        values = [key[0] for key in keys]
        clear = self._subjects.clear(transaction, [value for value in values if value]) if by in SUBJECT_KEYS else {}
        return _People(values, clear)


class _People:
    """Users and sessions by name: one of a name has a reference in every realm, and is one for whoever sees them all.

    Erased ones keep their references; values of other keys are their own names.
    """

    def __init__(self, values: Iterable[str], clear: Mapping[str, str]) -> None:
        self._clear = clear
        self._first: dict[str, str] = {}
        firsts: dict[str, str] = {}
        for value in sorted(values):
            self._first[value] = firsts.setdefault(clear[value], value) if value in clear else value

    def name(self, key: Key) -> str | None:
        """What is shown; None: not known."""
        return self._clear.get(key[0], key[0]) or None

    def values(self, keys: Collection[Key]) -> list[str]:
        """All values that stand for these keys."""
        wanted = {key[0] for key in keys}
        return [value for value, first in self._first.items() if first in wanted]

    def merged(self, tallies: Tallies) -> Tallies:
        """The tallies with one key for each name."""
        return {key[1:]: found for key, found in self.merged_cells({(0, *key): found for key, found in tallies.items()}).items()}

    def merged_cells(self, cells: Mapping[tuple[Any, ...], Tally]) -> dict[tuple[Any, ...], Tally]:
        """As `merged`, for keys with the number of a piece of time in front."""
        whole: dict[tuple[Any, ...], Tally] = {}
        for (place, value), found in cells.items():
            whole.setdefault((place, self._first[value]), Tally()).add(*found.amounts)
        return whole


def _referenced(transaction: Transaction, asked: Question) -> Question:
    checked = asked.checked()
    return checked._replace(filters=by_reference(transaction, checked.filters))


def _tallied(transaction: Transaction, question: Question, group_by: tuple[str, ...], span: Span) -> Tallies:
    return tally(transaction, question._replace(group_by=group_by, from_ns=span[0], to_ns=span[1]).checked(), DASHBOARD_CELLS_MAX)


def _figures(transaction: Transaction, question: Question, span: Span) -> Figures:
    if span[0] >= span[1]:
        return Figures()
    kinds = _tallied(transaction, question._replace(with_cache=True), _KINDS, span)
    sums = _sum(kinds.values())
    failures = failed_calls(transaction, question, *span)
    models = sum(1 for (_, model), one in kinds.items() if model and one.calls)
    return Figures(
        sums.cost_pico, sums.calls, sums.tokens, models, sums.unpriced_calls, sums.unpriced_tokens, failures, sums.prompt, sums.cache_read
    )


def _dearest(tallies: Mapping[Key, Tally]) -> list[Key]:
    """Keys by cost, of equal ones by calls, then by name."""
    return sorted(tallies, key=lambda key: (-tallies[key].cost_pico, -tallies[key].calls, key))


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for one in tallies:
        total.add(*one.amounts)
    return total


def _less(total: Tally, parts: Iterable[Tally]) -> Tally:
    rest = Tally()
    rest.add(*total.amounts)
    for part in parts:
        rest.add(*(-amount for amount in part.amounts))
    return rest
