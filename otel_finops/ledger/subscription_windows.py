"""Flat fees that are set and ended while the service runs, beside those of the settings: who, why and when. Rows are only added.

A window is a `settings.money.SubscriptionRule` with an id of its own. A further row ends it at an instant, or withdraws it as if it had
never been. What is booked stays as it is; calls that settle afterwards, late ones too, are covered where their start lies in the window.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.limits import SUBSCRIPTION_WINDOWS_MAX
from otel_finops.base.times import format_ns
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.coverage import Subscription
from otel_finops.settings.money import Pricing, SubscriptionRule
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_LAST_NS: Final = 2**63 - 1
_SELECT: Final = "SELECT window_no, ends_no, rule, ends_ns, who, why, recorded_ns FROM subscription_windows ORDER BY window_no"
_REVISION: Final = "SELECT COALESCE(MAX(window_no), 0) FROM subscription_windows"
_INSERT: Final = (
    "INSERT INTO subscription_windows (ends_no, rule, ends_ns, who, why, recorded_ns) VALUES (?, ?, ?, ?, ?, ?) RETURNING window_no"
)
_LOCK: Final = "LOCK TABLE subscription_windows IN SHARE ROW EXCLUSIVE MODE"


class End(NamedTuple):
    """How a window was ended; `at_ns` None: it was withdrawn, as if it had never been."""

    at_ns: int | None
    who: str
    why: str
    recorded_ns: int


class SubscriptionWindow(NamedTuple):
    """A stored flat fee.

    Attributes:
        no: its number, never given twice.
        rule: what it covers and costs, as it was set.
        who, why, recorded_ns: who set it, for what reason, when.
        end: how it was ended; None when it was not.
    """

    no: int
    rule: SubscriptionRule
    who: str
    why: str
    recorded_ns: int
    end: End | None = None

    @property
    def subscription(self) -> Subscription | None:
        """The flat fee as it holds; None when it was withdrawn, or ended before it began."""
        given = Subscription.of(self.rule)
        if self.end is None:
            return given
        end_ns = min(-1 if self.end.at_ns is None else self.end.at_ns, _LAST_NS if given.to_ns is None else given.to_ns)
        return given._replace(to_ns=end_ns, scope=given.scope._replace(to_ns=end_ns)) if end_ns > given.from_ns else None


class SubscriptionWindows:
    """The stored flat fees of one installation. Safe to use from many threads and processes."""

    def __init__(self, store: Store, clock: Clock, given: Pricing) -> None:
        """
        Args:
            given: the settings, whose flat fees nobody can end here.
        """
        self._store = store
        self._clock = clock
        self._given = frozenset(rule.id for rule in given.subscriptions)

    def all(self) -> list[SubscriptionWindow]:
        """Every window ever set, oldest first."""
        with self._store.read() as transaction:
            return windows_of(transaction)

    def add(self, rule: SubscriptionRule, *, who: str, why: str, dry_run: bool = False) -> SubscriptionWindow:
        """Set a flat fee; a dry run only checks that it could be set.

        Raises:
            BadInput: its id is taken, or there are too many.
        """
        with self._store.write() as transaction:
            windows = _locked(transaction)
            if rule.id in self._given or any(one.rule.id == rule.id for one in windows):
                raise BadInput(f"id: {rule.id!r} is or was another subscription's; rows that it covered name it, so take a new one")
            _check_room(windows)
            now_ns = self._clock.now_ns()
            if dry_run:
                return SubscriptionWindow(0, rule, who, why, now_ns)
            [(no,)] = transaction.execute(_INSERT, (None, rule.model_dump_json(by_alias=True), None, who, why, now_ns))
            return SubscriptionWindow(int(no), rule, who, why, now_ns)

    def end(
        self, name: str, at_ns: int | None, *, who: str, why: str, dry_run: bool = False
    ) -> tuple[SubscriptionWindow, SubscriptionWindow]:
        """End a flat fee at an instant, or (None) withdraw it; returns it as it stood and as it stands.

        Raises:
            NotFound: no stored one has this id.
            BadInput: it is one of the settings, or holds no longer then anyway.
        """
        with self._store.write() as transaction:
            windows = _locked(transaction)
            before = next((one for one in windows if one.rule.id == name), None)
            if before is None:
                if name in self._given:
                    raise BadInput(f"the settings give the subscription {name!r} (pricing.subscriptions); change it there")
                raise NotFound(f"There is no subscription {name!r}; `subscriptions.windows` lists them.")
            held = before.subscription
            if held is None or (at_ns is not None and held.to_ns is not None and at_ns >= held.to_ns):
                over = "was withdrawn" if held is None else f"ends at {format_ns(held.to_ns or 0)}"
                raise BadInput(f"the subscription {name!r} {over} already; there is nothing to end")
            _check_room(windows)
            end = End(at_ns, who, why, self._clock.now_ns())
            if not dry_run:
                transaction.execute(_INSERT, (before.no, None, at_ns, who, why, end.recorded_ns))
            return before, before._replace(end=end)


class CurrentRules:
    """The rules about money of now: those of the settings and the stored flat fees. Safe to use from many threads.

    Whoever asks gets what the database holds, for one look-up by key.
    """

    def __init__(self, store: Store, given: Pricing) -> None:
        self._store = store
        self._given = Cascade.of(given)
        self._held = (0, self._given)
        self._lock = Lock()

    def __call__(self) -> Cascade:
        """The rules; raises Busy and Unavailable as the store does."""
        with self._store.read() as transaction:
            return self.seen_by(transaction)

    def seen_by(self, transaction: Transaction) -> Cascade:
        """The rules that this transaction sees."""
        revision = int(transaction.execute(_REVISION)[0][0])
        held = self._held
        if held[0] == revision:
            return held[1]
        stored = [one for window in windows_of(transaction) if (one := window.subscription) is not None]
        made = self._given.with_more(stored)
        if not transaction.provisional:
            with self._lock:
                self._held = max(self._held, (revision, made), key=_revision)
        return made


def windows_of(transaction: Transaction) -> list[SubscriptionWindow]:
    """Every window ever set, oldest first, with its end: of several the one that comes first."""
    windows: dict[int, SubscriptionWindow] = {}
    for no, ends_no, rule, ends_ns, who, why, recorded_ns in transaction.execute(_SELECT):
        if ends_no is None:
            windows[no] = SubscriptionWindow(no, SubscriptionRule.model_validate_json(rule), who, why, recorded_ns)
        else:
            windows[ends_no] = windows[ends_no]._replace(end=End(ends_ns, who, why, recorded_ns))
    return list(windows.values())


def _revision(held: tuple[int, Cascade]) -> int:
    return held[0]


def _locked(transaction: Transaction) -> list[SubscriptionWindow]:
    """All windows, while nobody else can set one."""
    if transaction.engine_name == "postgresql":
        transaction.execute(_LOCK)  # SQLite has one writer anyway
    return windows_of(transaction)


def _check_room(windows: Iterable[SubscriptionWindow]) -> None:
    if sum(1 + (one.end is not None) for one in windows) >= SUBSCRIPTION_WINDOWS_MAX:
        raise BadInput(f"there are {SUBSCRIPTION_WINDOWS_MAX} stored subscriptions and ends already; put long-lived ones into the settings")
