"""The desk where applications ask for decisions: grouped into transactions, put on record, answered also when the store is away.

One commit serves all questions that are put at a time. One thread of a process decides at a time; whoever waits for another does so for
`enforcement.store_timeout` at most; who decides himself waits as long as the store does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, KeyReused, Unavailable
from otel_finops.base.ids import IdSource, RandomIds
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_SECOND, format_ns
from otel_finops.governance import decisions, guardrails
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.decide import Decider, Question, Verdict
from otel_finops.governance.decisions import Decision, Key, Query, Stopped
from otel_finops.governance.reservations import Reservation, Reservations, Tenants
from otel_finops.governance.rulings import HALTING, Reason, Ruling, is_switched_off
from otel_finops.ledger.subjects import SubjectKind, Subjects
from otel_finops.settings.enforcement import Enforcement
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_log: Final = logging.getLogger(__name__)

_SWEEP_S: Final = 0.1
"""For so long what is over may be held on."""
_AWAY_S: Final = 1.0
"""For so long after a failure the store is taken to be away, so that not everybody waits for it in vain; then one asks again."""
_ID_BYTES: Final = 8
"""Randomness of a decision's id; in front of it stand the seconds since the epoch, so that new ones lie together in the index."""
_STRIPES: Final = 8
"""Rows over which the count of one kind of decision is spread, so that processes do not wait for each other's."""
_FIND_SUBJECT: Final = "SELECT ref FROM subjects WHERE realm = ? AND kind = ? AND clear = ?"


class Posed(NamedTuple):
    """A question as it is put to the desk.

    Attributes:
        before: what switches and guardrails say.
        key: under which the caller may ask again; he gets the answer that was given the first time.
    """

    question: Question
    before: Ruling | None = None
    key: Key | None = None


Answer: TypeAlias = Mapping[str, Any]


class DecisionDesk:
    """Decides, holds, turns and gives back. Safe to use from many threads.

    Args:
        ids: where the ids of decisions come from.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        subjects: Subjects,
        decider: Decider,
        reservations: Reservations,
        settings: Enforcement,
        ids: IdSource | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._subjects = subjects
        self._decider = decider
        self._reservations = reservations
        self._settings = settings
        self._ids = ids or RandomIds()
        self._stripe = int(self._ids.token(1), 16) % _STRIPES
        self._deciding = threading.Lock()
        self._away_until = float("-inf")
        self._swept = float("-inf")

    def new_id(self) -> str:
        """An id for a decision, and for what it holds."""
        return f"{self._clock.now_ns() // NS_PER_SECOND:08x}{self._ids.token(_ID_BYTES)}"

    def now_ns(self) -> int:
        """Our time."""
        return self._clock.now_ns()

    @property
    def waits(self) -> bool:
        """Whether posing a question may take long: guardrails are asked."""
        return self._decider.waits

    def posed(self, question: Question, key: Key | None = None) -> Posed:
        """A question with what switches and guardrails say, asked here and now; as long as the store is away and this process never read
        the switches, they say nothing."""
        try:
            return Posed(question, self._decider.before(question.asked), key)
        except (Busy, Unavailable) as fault:
            self._is_away(str(fault))
            return Posed(question, None, key)

    def decide(self, question: Question, key: Key | None = None) -> Answer:
        """Decide on a call, on record, and hold what it takes; the answer as it is stored, with the figures of all tenants' rules.

        Args:
            key: see `Posed`.

        Raises:
            KeyReused: the key was sent before with another question.
        """
        [answer] = self.decide_all([self.posed(question, key)])
        if isinstance(answer, KeyReused):
            raise answer
        return answer

    def decide_all(self, posed: Sequence[Posed]) -> list[Answer | KeyReused]:
        """The same for many, in one transaction; where that fails each has one of its own, unless the store itself is away."""
        if self._clock.monotonic() < self._away_until:
            return [self.away(one) for one in posed]
        if not self._deciding.acquire(timeout=self._settings.store_timeout):
            self._is_away("somebody else decides for too long")
            return [self.away(one) for one in posed]
        try:
            return self._decided(posed)
        finally:
            self._deciding.release()

    def away(self, posed: Posed) -> Answer:
        """What is answered while the store cannot be asked; it stands on record nowhere."""
        verdict = self._decider.away(posed.question, posed.before)
        return answer_of(posed.question, verdict, self._settings, self._clock.now_ns(), recorded=False)

    def try_out(self, posed: Posed) -> Answer:
        """The answer that `decide` would give now; nothing is written or held.

        Raises:
            Busy, Unavailable: the store's.
        """
        question, now_ns = posed.question, self._clock.now_ns()
        with self._store.read() as transaction:
            call = known_call(transaction, question, now_ns)
            verdict = self._decider.decide(transaction, question, call, posed.before, keep=False, now_ns=now_ns)
        return answer_of(question, verdict, self._settings, now_ns, recorded=False)

    def settle(self, reservation_id: str, actual_pico: int | None, tokens: int | None, tenants: Tenants) -> Reservation:
        """See `Reservations.settle`."""
        with self._writing() as transaction:
            return self._reservations.settle(transaction, reservation_id, actual_pico, tokens, self._clock.now_ns(), tenants)

    def release(self, reservation_id: str, tenants: Tenants) -> Reservation:
        """See `Reservations.release`."""
        with self._writing() as transaction:
            return self._reservations.release(transaction, reservation_id, self._clock.now_ns(), tenants)

    def expire(self) -> str:
        """Give back all that is held for too long; for the scheduler."""
        ended = 0
        while True:
            with self._writing() as transaction:
                now = self._reservations.expire(transaction, self._clock.now_ns())
            ended += now
            if not now:
                return f"{ended} reservations given back" if ended else "nothing is held for too long"

    def reservation(self, reservation_id: str, tenants: Tenants) -> Reservation:
        """One reservation; raises NotFound."""
        with self._store.read() as transaction:
            return self._reservations.find(transaction, reservation_id, tenants)

    def reservations(self, tenants: Tenants, state: str | None, before: tuple[int, str] | None, limit: int) -> Sequence[Reservation]:
        """A page of reservations, newest first; `before` is the place (when made, id) of the last one seen."""
        with self._store.read() as transaction:
            return self._reservations.page(transaction, tenants, state, before, limit)

    def page(self, query: Query, before_no: int | None, limit: int) -> tuple[Sequence[Decision], Mapping[str, str]]:
        """A page of decisions, newest first, and the clear ids of their subjects."""
        with self._store.read() as transaction:
            found = decisions.page(transaction, query, before_no, limit)
            return found, self._subjects.clear(transaction, decisions.subjects_of(found))

    def find(self, decision_id: str, tenants: Tenants) -> tuple[Decision, Mapping[str, str]] | None:
        """One decision and the clear ids of its subjects; None when there is none that these tenants may see."""
        with self._store.read() as transaction:
            found = decisions.found(transaction, decision_id, tenants)
            return None if found is None else (found, self._subjects.clear(transaction, decisions.subjects_of([found])))

    def counted(self) -> Mapping[tuple[str, str], int]:
        """All decisions ever made, by action and whether they were only observed (`true`, `false`)."""
        with self._store.read() as transaction:
            return decisions.counted(transaction)

    def stopped(self, query: Query) -> Sequence[Stopped]:
        """What was not simply let through in a span of time."""
        with self._store.read() as transaction:
            return decisions.stopped(transaction, query)

    def stopped_by_rule(self, query: Query) -> Sequence[Stopped]:
        """The same by the rule that decided too, those with the most calls first."""
        with self._store.read() as transaction:
            return decisions.stopped_by_rule(transaction, query)

    # --- the group ---

    def _decided(self, posed: Sequence[Posed]) -> list[Answer | KeyReused]:
        """See `decide_all`."""
        began = self._clock.monotonic()
        try:
            return self._recorded(posed)
        except Exception as fault:  # noqa: BLE001 - every question is answered, whatever becomes of one
            is_away = isinstance(fault, Busy | Unavailable)
            if is_away and self._clock.monotonic() - began >= self._settings.store_timeout:
                return self._not_decided(posed, fault)
            if len(posed) > 1 and not is_away:
                return [answer for one in posed for answer in self._decided([one])]
            return self._once_more(posed)

    def _once_more(self, posed: Sequence[Posed]) -> list[Answer | KeyReused]:
        """Try again what the database gave up for another transaction, or what lost a race for its key."""
        try:
            return self._recorded(posed)
        except Exception as fault:  # noqa: BLE001 - as above
            return self._not_decided(posed, fault)

    def _not_decided(self, posed: Sequence[Posed], fault: Exception) -> list[Answer | KeyReused]:
        """A fault, also one of ours, must not be the reason that a healthy call fails."""
        if isinstance(fault, Busy | Unavailable):
            self._is_away(str(fault))
        else:
            _log.error("calls could not be decided on; they are answered as if the store were away", exc_info=fault)
        return [self.away(one) for one in posed]

    def _is_away(self, why: str) -> None:
        if self._clock.monotonic() >= self._away_until:
            _log.warning("calls are decided on without the store for a moment: %s", why)
        self._away_until = self._clock.monotonic() + _AWAY_S

    # --- one transaction ---

    def _recorded(self, posed: Sequence[Posed]) -> list[Answer | KeyReused]:
        """Decide and record in one transaction; the answers as they are stored, KeyReused in place of those that have none."""
        now_ns = self._clock.now_ns()
        self._sweep(now_ns)
        with self._writing() as transaction:
            calls = self._calls(transaction, [one.question for one in posed], now_ns)
            self._decider.lock(transaction, calls)
            book = _Book(transaction, now_ns)
            answers = [self._recorded_one(book, one, call) for one, call in zip(posed, calls, strict=True)]
            if book.rows:
                decisions.insert(transaction, book.rows)
                decisions.count(transaction, book.rows, self._stripe)
        return answers

    def _writing(self) -> AbstractContextManager[Transaction]:
        return self._store.write(durable=self._settings.durable)

    def _sweep(self, now_ns: int) -> None:
        """Give back what is held for too long, so that nobody is refused for it; not before every transaction.

        It is a transaction of its own: what it gives back to and what is held from next would be locked in two turns, out of order.
        """
        if self._clock.monotonic() - self._swept >= _SWEEP_S:
            with self._writing() as transaction:
                self._reservations.expire(transaction, now_ns)
            self._swept = self._clock.monotonic()

    def _recorded_one(self, book: _Book, one: Posed, call: GovernedCall) -> Answer | KeyReused:
        key = one.key
        try:
            earlier = book.earlier(call.tenant, key)
        except KeyReused as fault:
            return fault
        if earlier is not None:
            if not is_switched_off(one.before) or earlier["action"] in HALTING:
                return earlier
            key = None  # a switch that was set since holds, also for who was told to go on before; the key stays the first answer's
        verdict = self._decider.decide(book.transaction, one.question, call, one.before, keep=True, now_ns=book.now_ns)
        answer = answer_of(one.question, verdict, self._settings, book.now_ns)
        guardrails.record(book.transaction, one.question.asked.decision_id, call, book.now_ns, verdict)
        book.add(decisions.row_of(one.question.asked.decision_id, verdict, call, book.now_ns, key, orjson.dumps(answer)), key, answer)
        return answer

    def _calls(self, transaction: Transaction, questions: Sequence[Question], now_ns: int) -> list[GovernedCall]:
        """The calls with references of their subjects, which are made where there are none yet; in an order that all processes share."""
        wanted: dict[tuple[str, SubjectKind], set[str]] = {}
        for question in questions:
            for kind, clear in _subjects(question):
                wanted.setdefault((question.asked.call.realm, kind), set()).add(clear)
        refs = {place: self._subjects.refs(transaction, *place, wanted[place]) for place in sorted(wanted)}
        return [self._with_refs(question, refs, now_ns) for question in questions]

    @staticmethod
    def _with_refs(question: Question, refs: Mapping[tuple[str, SubjectKind], Mapping[str, str]], now_ns: int) -> GovernedCall:
        call = question.asked.call
        found = {kind: refs[call.realm, kind][clear] for kind, clear in _subjects(question)}
        return call._replace(user=found.get("user"), session=found.get("session"), at_ns=now_ns)


class _Book:
    """What one transaction puts on record."""

    def __init__(self, transaction: Transaction, now_ns: int) -> None:
        self.transaction = transaction
        self.now_ns = now_ns
        self.rows: list[Sequence[Any]] = []
        self._by_key: dict[tuple[str, str], tuple[str, Answer]] = {}

    def add(self, row: Sequence[Any], key: Key | None, answer: Answer) -> None:
        self.rows.append(row)
        if key is not None:
            self._by_key[row[1], key.key] = (key.asked, answer)

    def earlier(self, tenant: str, key: Key | None) -> Answer | None:
        """What was answered under this key; raises KeyReused where it was asked something else."""
        if key is None:
            return None
        held = self._by_key.get((tenant, key.key)) or decisions.answered(self.transaction, tenant, key.key)
        if held is None:
            return None
        if held[0] != key.asked:
            raise KeyReused("idempotency_key: this key was sent before with another question; make a new key for every call")
        return held[1]


def _subjects(question: Question) -> list[tuple[SubjectKind, str]]:
    said: list[tuple[SubjectKind, str | None]] = [("user", question.asked.user), ("session", question.asked.session)]
    return [(kind, clear) for kind, clear in said if clear is not None]


def known_call(transaction: Transaction, question: Question, now_ns: int) -> GovernedCall:
    """The call with the references that its subjects have; for dry runs, which make none: who has no reference yet stays nobody."""
    call = question.asked.call
    found = {kind: transaction.execute(_FIND_SUBJECT, (call.realm, kind, clear)) for kind, clear in _subjects(question)}
    return call._replace(at_ns=now_ns, **{kind: rows[0][0] for kind, rows in found.items() if rows})


def answer_of(question: Question, verdict: Verdict, settings: Enforcement, now_ns: int, *, recorded: bool = True) -> dict[str, Any]:
    """A decision in the contract's form, with fields of our own.

    Args:
        recorded: False for dry runs, and while the store is away: nothing stands on record.
    """
    ruling, action, held = verdict.ruling, verdict.answered, verdict.reservation
    tells = ruling is not None and not verdict.observed
    return {
        "decision_id": question.asked.decision_id,
        "action": action,
        "http_status": status_of(action, settings.block_status),
        "reasons": [shown_reason(one) for one in verdict.reasons],
        "reservation_id": None if held is None else held.id,
        "expires_at": None if held is None else format_ns(held.expires_ns),
        "estimate_usd": None if verdict.estimate.pico is None else format_usd(verdict.estimate.pico),
        "estimate": {
            "source": verdict.estimate.source, "guessed": list(verdict.estimate.guessed), "detail": verdict.estimate.detail,
            "tokens": verdict.call.tokens,
        },
        "retry_after_s": ruling.retry_after_s if ruling is not None and tells else None,
        "model": ruling.model if ruling is not None and tells else None,
        "approval_id": ruling.approval_id if ruling is not None and tells else None,
        "observed": verdict.observed,
        "decided": verdict.action,
        "recorded": recorded,
        "at": format_ns(now_ns),
    }  # fmt: skip


def status_of(action: str, block_status: int) -> int:
    """The HTTP status with which an application should answer its own caller."""
    if action in ("block", "require_approval"):
        return block_status
    return 429 if action in ("throttle", "queue") else 200


def shown_reason(one: Reason) -> dict[str, Any]:
    """A reason as answers hold it; `tenant` is taken out before anybody sees it (`told`)."""
    return {**one._asdict(), "figures": dict(one.figures)}


def told(answer: Mapping[str, Any], tenants: Tenants) -> dict[str, Any]:
    """The answer for a principal: of rules that are for several tenants, or another's, who is bound to tenants hears the name alone."""
    return {**answer, "reasons": [_told_reason(one, tenants) for one in answer["reasons"]]}


def _told_reason(one: Mapping[str, Any], tenants: Tenants) -> dict[str, Any]:
    said = {name: value for name, value in one.items() if name != "tenant"}
    if tenants is None or one["gate"] not in ("budget", "credits", "policy") or one["tenant"] in tenants:
        return said
    return {**said, "text": f"{one['gate']} {one['rule']} of several tenants says {one['action']}", "figures": {}}
