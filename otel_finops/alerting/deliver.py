"""Delivering: what stands in the outbox is claimed, told, and what came of it is recorded.

A claim is a row's own lease: of any number of processes one attempts a delivery at a time, and each channel has one attempt at a time, so
that what is said of an alert arrives in its order. A process that dies leaves a claim that runs out; then the delivery is attempted again,
with the same id, since nobody knows what the receiver heard.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Final, NamedTuple, Protocol

from otel_finops.alerting.channel_rows import followed_routing
from otel_finops.alerting.channel_secrets import Secrets
from otel_finops.alerting.notices import Notice
from otel_finops.alerting.outbox import unpacked
from otel_finops.alerting.routes import Channel
from otel_finops.alerting.senders import Attempt, Outcome
from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Busy, Unavailable
from otel_finops.base.limits import DELIVERY_BACKOFF_S, DELIVERY_BACKOFF_S_MAX, DELIVERY_CLAIM_S, DELIVERY_THREADS
from otel_finops.base.times import NS_PER_HOUR, NS_PER_SECOND
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_log: Final = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How soon a delivery is noticed; where none waits a look is one look-up in an index without rows."""
_CLAIM_NS: Final = round(DELIVERY_CLAIM_S * NS_PER_SECOND)
_DOUBLINGS_MAX: Final = 20

_LOCK: Final = "SELECT pg_advisory_xact_lock(?)"
_LOCK_NO: Final = 5_270_411_906_032
"""Number of PostgreSQL's advisory lock for who claims deliveries; any number that nobody else uses."""
_AHEAD_NS: Final = 2 * NS_PER_HOUR
"""No claim and no delay lasts as long: one that seems to was noted before the clock went back, and holds nothing up."""
_FREE: Final = "CASE WHEN claimed_ns > ? THEN 0 ELSE claimed_ns END"
_DUE: Final = "CASE WHEN next_ns > ? THEN 0 ELSE next_ns END"
_ANY_DUE: Final = f"SELECT 1 FROM deliveries WHERE status = 'waiting' AND {_DUE} <= ? AND {_FREE} <= ? LIMIT 1"
_BACKLOG: Final = "SELECT COUNT(*), MIN(made_ns) FROM deliveries WHERE status = 'waiting'"
_FREE_CHANNELS: Final = (
    f"SELECT channel_no FROM deliveries WHERE status = 'waiting' GROUP BY channel_no HAVING MAX({_FREE}) <= ? AND MIN({_DUE}) <= ? "
    "ORDER BY MIN(made_ns), channel_no"
)
_FIRST_DUE: Final = (
    f"SELECT delivery_no FROM deliveries AS d WHERE status = 'waiting' AND channel_no = ? AND {_DUE} <= ? AND NOT EXISTS "
    "(SELECT 1 FROM deliveries AS e WHERE e.status = 'waiting' AND e.channel_no = d.channel_no AND e.alert_key = d.alert_key "
    "AND e.delivery_no < d.delivery_no) ORDER BY delivery_no LIMIT 1"
)
_CLAIM: Final = (
    f"UPDATE deliveries SET claimed_ns = ?, attempts = attempts + 1 WHERE delivery_no = ? AND status = 'waiting' AND {_FREE} <= ? "
    "RETURNING delivery_no, channel_no, attempts, made_ns, notice"
)
_LOG: Final = (
    "INSERT INTO delivery_attempts (delivery_no, attempt, at_ns, duration_ms, outcome, code, said) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (delivery_no, attempt) DO NOTHING"
)
_DELIVERED: Final = (
    "UPDATE deliveries SET status = 'delivered', claimed_ns = 0, done_ns = ?, said = ? WHERE delivery_no = ? AND status <> 'delivered'"
)
_AGAIN: Final = "UPDATE deliveries SET claimed_ns = 0, next_ns = ?, said = ? WHERE delivery_no = ? AND attempts = ? AND status = 'waiting'"
_FAILED: Final = (
    "UPDATE deliveries SET status = 'failed', claimed_ns = 0, done_ns = ?, said = ? "
    "WHERE delivery_no = ? AND attempts = ? AND status = 'waiting'"
)


class Claimed(NamedTuple):
    """A delivery that this process attempts.

    Attributes:
        no: its number.
        channel_no: by which channel.
        attempt: 1 is the first.
        made_ns: when the notice was put into the outbox.
        notice: what is to be told.
    """

    no: int
    channel_no: int
    attempt: int
    made_ns: int
    notice: Notice


class Round(NamedTuple):
    """What a round of delivering came to, by how many attempts."""

    delivered: int = 0
    again: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.delivered} delivered, {self.again} to be tried again, {self.failed} given up"


class Backlog(NamedTuple):
    """What waits to be delivered: how many, and for how many seconds the first of them; 0 where none does."""

    waiting: int
    oldest_s: float


class Teller(Protocol):
    """What tells a notice (`senders.Senders`)."""

    def tell(self, channel: Channel, secrets: Secrets, notice: Notice) -> Attempt:
        """Try once."""
        ...


class SecretsOf(Protocol):
    """Who knows what is secret of a channel (`channel_store.ChannelStore.secrets`)."""

    def __call__(self, channel: Channel, /) -> Secrets:
        """What is secret of it; raises BadInput where that cannot be decrypted."""
        ...


class Deliverer:
    """Delivers what is due. Safe to use from many threads and processes.

    Args:
        now_ns: the time by which claims and delays are measured, the same for all processes (`store.lease.Leases.now_ns`).
        patience_s: for how long a delivery is attempted.
        vary: a factor for each delay, 0.5 to 1.5: channels that failed together are not asked together.
    """

    def __init__(
        self, store: Store, clock: Clock, teller: Teller, secrets: SecretsOf, now_ns: Callable[[], int], *, patience_s: float,
        vary: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._teller = teller
        self._secrets = secrets
        self._now_ns = now_ns
        self._patience_ns = round(patience_s * NS_PER_SECOND)
        self._vary = vary or (lambda: random.uniform(0.5, 1.5))  # noqa: S311 - nobody gains by guessing a delay
        self._routing = followed_routing(store, clock)

    def is_due(self) -> bool:
        """Whether anything waits to be attempted now."""
        now_ns = self._now_ns()
        with self._store.read() as transaction:
            return bool(transaction.execute(_ANY_DUE, (now_ns + _AHEAD_NS, now_ns, now_ns + _AHEAD_NS, now_ns)))

    def backlog(self) -> Backlog:
        """What waits, here and in all other processes."""
        with self._store.read() as transaction:
            [(waiting, since_ns)] = transaction.execute(_BACKLOG)
        return Backlog(int(waiting), max(0, self._now_ns() - int(since_ns)) / NS_PER_SECOND if waiting else 0.0)

    def run(self, stopping: Callable[[], bool] = lambda: False) -> Round:
        """Attempt what is due until nothing is, or it is to stop; what was begun is ended.

        Each attempt has a thread, so that a slow channel delays no other one.

        Raises:
            Busy, Unavailable: the store's; what was claimed is attempted again when the claims have run out.
        """
        done, running, ended = Counter[str](), 0, SimpleQueue[str]()
        while True:
            claimed = () if stopping() or running == DELIVERY_THREADS else self.claim(DELIVERY_THREADS - running)
            for one in claimed:
                Thread(target=self._attempted, args=(one, ended), name=f"deliver {one.no}", daemon=True).start()
            running += len(claimed)
            if not running:
                return Round(*(done[name] for name in Round._fields))
            with suppress(Empty):
                done[ended.get(timeout=LOOK_S)] += 1
                running -= 1

    def claim(self, most: int) -> Sequence[Claimed]:
        """Take deliveries that are due, one of each channel at most, for `DELIVERY_CLAIM_S`."""
        if not self.is_due():
            return ()
        now_ns = self._now_ns()
        with self._store.write(housekeeping=True) as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_LOCK, (_LOCK_NO,))  # SQLite has one writer anyway
            return list(_claimed(transaction, now_ns, most))

    def attempt(self, one: Claimed) -> Outcome:
        """Tell a notice and record what came of it; the outcome."""
        at_ns, began = self._now_ns(), self._clock.monotonic()
        tried = self._tried(one)
        duration_ms = round((self._clock.monotonic() - began) * 1000)
        if tried.outcome == "again":
            tried = self._patient(one, tried)
        with self._store.write() as transaction:
            transaction.execute(_LOG, (one.no, one.attempt, at_ns, duration_ms, tried.outcome, tried.code, tried.said))
            self._record(transaction, one, tried)
        return tried.outcome

    def attempt_once(self, no: int, channel: Channel, notice: Notice) -> Outcome:
        """Attempt what this process put into the outbox and holds (`claim_until_ns`), this one time."""
        return self.attempt(Claimed(no, channel.no, 1, self._now_ns() - self._patience_ns, notice))

    def claim_until_ns(self) -> int:
        """Until when a claim holds that is made now."""
        return self._now_ns() + _CLAIM_NS

    def _attempted(self, one: Claimed, ended: SimpleQueue[str]) -> None:
        """An attempt on a thread of its own. What cannot be recorded is attempted again when the claim has run out."""
        outcome: str = "lost"
        try:
            outcome = self.attempt(one)
        except (Busy, Unavailable) as fault:
            _log.warning("what came of delivery %d is not on record: %s", one.no, fault)
        finally:
            ended.put(outcome)

    def _tried(self, one: Claimed) -> Attempt:
        try:
            with self._store.read() as transaction:
                channel = self._routing.seen_by(transaction).channels.get(one.channel_no)
            if channel is None or not channel.enabled:
                return Attempt("failed", f"not sent: the channel {'was taken away' if channel is None else 'is switched off'}")
            return self._teller.tell(channel, self._secrets(channel), one.notice)
        except BadInput as fault:
            return Attempt("again", f"not sent: {fault}")
        except (Busy, Unavailable):
            return Attempt("again", "not sent: what the channel needs could not be read")
        except Exception as fault:  # noqa: BLE001 - one channel's fault must not keep all others waiting; the log has it
            _log.exception("channel %d could not be told", one.channel_no)
            return Attempt("again", f"not sent: a fault of the service's own ({type(fault).__name__})")

    def _patient(self, one: Claimed, tried: Attempt) -> Attempt:
        """What failed, given up where it was tried for long enough."""
        delay_s = self._delay_s(one.attempt, tried.wait_s)
        if self._now_ns() + delay_s * NS_PER_SECOND > one.made_ns + self._patience_ns:
            return tried._replace(outcome="failed", said=f"{tried.said}; given up after {_times(one.attempt)}")
        return tried._replace(wait_s=delay_s)

    def _delay_s(self, attempts: int, asked_s: float) -> float:
        doubled = DELIVERY_BACKOFF_S * 2.0 ** min(attempts - 1, _DOUBLINGS_MAX)
        return max(asked_s, min(doubled, DELIVERY_BACKOFF_S_MAX) * self._vary())

    def _record(self, transaction: Transaction, one: Claimed, tried: Attempt) -> None:
        """An attempt that outlived its claim changes nothing, unless it was heard: then nobody is to say it again."""
        now_ns = self._now_ns()
        if tried.outcome == "delivered":
            transaction.execute(_DELIVERED, (now_ns, tried.said, one.no))
        elif tried.outcome == "again":
            transaction.execute(_AGAIN, (now_ns + round(tried.wait_s * NS_PER_SECOND), tried.said, one.no, one.attempt))
        else:
            transaction.execute(_FAILED, (now_ns, tried.said, one.no, one.attempt))


class Postman:
    """A thread that delivers what is due, until it is stopped."""

    def __init__(self, deliverer: Deliverer) -> None:
        self._deliverer = deliverer
        self._stop = Event()
        self._thread: Thread | None = None
        self._trouble = ""

    def backlog(self) -> Backlog:
        """What waits, here and in all other processes."""
        return self._deliverer.backlog()

    def start(self) -> None:
        """Deliver from now on."""
        self._thread = Thread(target=self._loop, name="postman", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Begin no further attempt, and wait for those that run; what is broken off is attempted again by the next process."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _loop(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self._deliverer.run(self._stop.is_set)
                self._trouble = ""
            except (Busy, Unavailable) as fault:
                self._tell(f"notices wait, the outbox cannot be read: {fault}")
            except Exception:  # noqa: BLE001 - a fault of ours must not end the delivering
                self._tell("notices wait, delivering failed", with_stack=True)

    def _tell(self, trouble: str, *, with_stack: bool = False) -> None:
        if trouble != self._trouble:
            _log.log(logging.ERROR if with_stack else logging.WARNING, "%s", trouble, exc_info=with_stack)
        self._trouble = trouble


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _claimed(transaction: Transaction, now_ns: int, most: int) -> Iterator[Claimed]:
    taken, by_now = 0, (now_ns + _AHEAD_NS, now_ns)
    for (channel_no,) in transaction.execute(_FREE_CHANNELS, (*by_now, *by_now)):
        for (no,) in transaction.execute(_FIRST_DUE, (channel_no, *by_now)):
            for delivery_no, of_channel, attempts, made_ns, notice in transaction.execute(_CLAIM, (now_ns + _CLAIM_NS, no, *by_now)):
                yield Claimed(int(delivery_no), int(of_channel), int(attempts), int(made_ns), unpacked(notice))
                taken += 1
        if taken >= most:
            return
