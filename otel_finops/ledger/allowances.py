"""Free allowances, booked by a run: the first searches of a project in a day or month cost nothing, the later ones their price.

Which searches are the first is known once the period is over, so nothing is granted when a call arrives, and nothing depends on the
order of arrival. The run compares what stands with what should: a call that comes late moves the others, a rule that is gone gives back
what it granted, and a second run finds nothing to do. What was granted is told by the rows themselves (`ledger.free_searches`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import ALLOWANCE_CHANGES_MAX
from otel_finops.base.times import NS_PER_DAY, month_start_ns
from otel_finops.genai.sighting import Decision
from otel_finops.ledger.booking import Booking
from otel_finops.ledger.corrections import Corrected, Corrector, Group, Selection, booked_tenants
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.ledger.free_searches import charged_searches, free_searches, with_free_searches
from otel_finops.ledger.pruned import pruned_until_ns
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.standing import EntryKey, states
from otel_finops.pricing.allowances import Allowance, allowance_of, period_of
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.units import SEARCHES, billed_searches
from otel_finops.settings.money import AllowanceRule
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import LIST_VALUES_MAX, Transaction

_FIRST: Final = "SELECT MIN(started_ns) FROM entries WHERE tenant = ?"
_TRACES: Final = (
    "SELECT DISTINCT trace_no FROM entries WHERE tenant = ? AND started_ns >= ? AND started_ns < ? AND role = 'call' AND usage LIKE ?"
)
_SEARCHED: Final = f'%"{SEARCHES}"%'


class Project(NamedTuple):
    """Calls that take from the same allowances; an empty part lets every call pass."""

    accounts: frozenset[str]
    realms: frozenset[str]

    @classmethod
    def of(cls, rule: AllowanceRule) -> Project:
        """The project that the settings describe."""
        return cls(frozenset(rule.accounts), frozenset(rule.realms))

    def has(self, net: Entry) -> bool:
        """Whether a standing call is one of the project's."""
        return (not self.accounts or net.account in self.accounts) and (not self.realms or net.realm in self.realms)


class _Searching(NamedTuple):
    """A standing call with searches, in the order in which allowances are used up.

    Attributes:
        project: place of its rule; None where no rule speaks of it.
        allowance: of its price; None where that has none.
        billed: searches that it takes from the allowance; where its cost is no price, those that it would be charged for.
        charged: searches that can be free, since they cost something.
        free: those that stand as free.
    """

    started_ns: int
    trace_id: str
    span_id: str
    realm: str
    project: int | None
    allowance: Allowance | None
    billed: int
    charged: int
    free: int

    @property
    def key(self) -> EntryKey:
        return self.realm, self.trace_id, self.span_id


class _Grants:
    """How many searches of which calls should be free; asked about calls in their order."""

    def __init__(self, now_ns: int, pruned_ns: int) -> None:
        self._now_ns = now_ns
        self._pruned_ns = pruned_ns
        self._used: Counter[tuple[int, str, str, int]] = Counter()

    def of(self, call: _Searching) -> int:
        """The call's free searches; those that stand where its period is not over yet, or its first calls were pruned."""
        if call.project is None or call.allowance is None:
            return 0
        from_ns, to_ns = period_of(call.allowance, call.started_ns)
        if to_ns > self._now_ns or from_ns < self._pruned_ns:
            return call.free
        place = call.project, call.allowance.family, call.allowance.group, from_ns
        left = max(call.allowance.searches - self._used[place], 0)
        self._used[place] += call.billed
        return min(left, call.billed, call.charged)


class _Granted:
    """Every call with as many free searches as it was found to have."""

    verb = "allowances"

    def __init__(self, free: Mapping[EntryKey, int]) -> None:
        self._free = free

    def wants(self, net: Entry) -> bool:
        """Only what changes."""
        return net.key in self._free

    def prepare(self, transaction: Transaction, nets: Sequence[Entry]) -> None:
        """Everything is known."""

    def target(self, booking: Booking, decision: Decision | None, net: Entry) -> Entry:
        """The row with its free searches, priced as it stands; what waits to be settled is looked at by the next run."""
        return with_free_searches(net, self._free[net.key])


def grant_allowances(
    corrector: Corrector, projects: Sequence[Project], selection: Selection, *, who: str, why: str, dry_run: bool = False
) -> Corrected:
    """Book the free searches of calls in the selected time; periods that are not over are left as they are.

    Allowances are counted from the beginning of a period, wherever the selected time begins, and over all tenants.

    Raises:
        Busy: see `Corrector.run`.
        BadInput: more calls change than one run can remember, or the provider's time zone is not known.
    """
    found: dict[EntryKey, int] = {}
    times: list[int] = []
    with corrector.store.read() as transaction:
        grants = _Grants(corrector.now_ns, pruned_until_ns(transaction))
    for call in _searching(corrector.store, corrector.prices().book, projects, selection, corrector.now_ns):
        free = grants.of(call)
        if free != call.free and call.started_ns >= selection.from_ns:
            found[call.key] = free
            times = [*times[:1], call.started_ns]
            if len(found) > ALLOWANCE_CHANGES_MAX:
                raise BadInput(f"more than {ALLOWANCE_CHANGES_MAX} calls would change; name a shorter time (--from, --to)")
    if not found:
        return Corrected(None, (), Group(None, None), 0, 0, 0)
    chosen = selection._replace(from_ns=times[0], to_ns=times[-1] + 1)
    return corrector.run(_Granted(found), chosen, who=who, why=why, dry_run=dry_run)


def _searching(store: Store, book: PriceBook, projects: Sequence[Project], selection: Selection, now_ns: int) -> Iterator[_Searching]:
    """Standing calls with searches in their order, from before the first period of the selection; a day of them in memory."""
    with store.read() as transaction:
        tenants = list(booked_tenants(transaction, None))
        started = [transaction.execute(_FIRST, (tenant,))[0][0] for tenant in tenants]
    if not started:
        return
    day_ns = max(_surely_before(selection.from_ns), min(started) // NS_PER_DAY * NS_PER_DAY)
    to_ns = min(selection.to_ns, now_ns)
    while day_ns < to_ns:
        with store.read() as transaction:
            nets = _of_day(transaction, tenants, day_ns, min(day_ns + NS_PER_DAY, to_ns))
            calls = [_searching_call(net, book, projects) for net in nets]
        yield from sorted(calls, key=lambda call: call[:4])
        day_ns += NS_PER_DAY


def _surely_before(instant_ns: int) -> int:
    """A midnight (UTC) before the month, in whatever time zone, in which an instant lies."""
    return month_start_ns(max(instant_ns - NS_PER_DAY, 0)) - NS_PER_DAY


def _of_day(transaction: Transaction, tenants: Iterable[str], from_ns: int, to_ns: int) -> Iterator[Entry]:
    numbers = {number for tenant in tenants for (number,) in transaction.execute(_TRACES, (tenant, from_ns, to_ns, _SEARCHED))}
    ordered = sorted(numbers)
    for start in range(0, len(ordered), LIST_VALUES_MAX):
        for state in states(entries_of_traces(transaction, ordered[start : start + LIST_VALUES_MAX])).values():
            net = state.net
            if net is not None and net.role == ROLE_CALL and from_ns <= net.started_ns < to_ns and net.usage.get(SEARCHES):
                yield net


def _searching_call(net: Entry, book: PriceBook, projects: Sequence[Project]) -> _Searching:
    row = None if net.price_key is None else book.by_key(net.price_key, net.started_ns)
    charged = charged_searches(net)
    project = next((place for place, one in enumerate(projects) if one.has(net)), None)
    return _Searching(
        net.started_ns,
        net.trace_id,
        net.span_id,
        net.realm,
        project,
        None if row is None else allowance_of(row),
        charged or (0 if row is None else billed_searches(row, net.usage[SEARCHES])),
        charged,
        free_searches(net),
    )
