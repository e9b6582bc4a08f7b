"""The desk where applications ask for decisions: grouped into transactions, put on record, answered also when the store is away.

Whoever asks while nobody decides does so himself, for all that wait; those that come meanwhile are the next group, and the first of
them decides for it. So one commit serves all of a group, and a single question needs no other thread. Whoever waits for another does so
for `enforcement.store_timeout` at most; who decides himself waits as long as the store does.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Final

import orjson

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, KeyReused, Unavailable
from otel_finops.base.ids import IdSource, RandomIds
from otel_finops.base.limits import DECISIONS_TOGETHER_MAX, DECISIONS_WAITING_MAX
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


class _Waiting:
    """A question that waits for its transaction.

    Attributes:
        outcome: what became of it; None: nothing yet.
        leads: it is its turn to decide, for itself and for all that wait behind it.
    """

    __slots__ = ("before", "key", "leads", "outcome", "question", "turn")

    def __init__(self, question: Question, before: Ruling | None, key: Key | None) -> None:
        self.question = question
        self.before = before
        self.key = key
        self.outcome: bytes | BaseException | None = None
        self.leads = False
        self.turn = threading.Lock()
        """Let go once there is an outcome, or it is its turn to decide."""
        self.turn.acquire()


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
        self._line: deque[_Waiting] = deque()
        self._guard = threading.Lock()
        self._is_led = False
        self._away_until = float("-inf")
        self._swept = float("-inf")

    def new_id(self) -> str:
        """An id for a decision, and for what it holds."""
        return f"{self._clock.now_ns() // NS_PER_SECOND:08x}{self._ids.token(_ID_BYTES)}"

    def now_ns(self) -> int:
        """Our time."""
        return self._clock.now_ns()

    def decide(self, question: Question, key: Key | None = None) -> Mapping[str, Any]:
        """Decide on a call, on record, and hold what it takes; the answer as it is stored, with the figures of all tenants' rules.

        Args:
            key: under which the caller may ask again; he gets the answer that was given the first time.

        Raises:
            KeyReused: the key was sent before with another question.
        """
        before = self._before(question)
        if self._clock.monotonic() >= self._away_until:
            try:
                answer = self._waited(_Waiting(question, before, key))
                return orjson.loads(answer)  # type: ignore[no-any-return]
            except (Busy, Unavailable) as fault:
                self._is_away(str(fault))
            except KeyReused:
                raise
            except Exception:  # noqa: BLE001 - a fault of ours must not be the reason that a healthy call fails; it is logged
                _log.exception("a call could not be decided on; it is answered as if the store were away")
        return answer_of(question, self._decider.away(question, before), self._settings, self._clock.now_ns(), recorded=False)

    def try_out(self, question: Question) -> Mapping[str, Any]:
        """The answer that `decide` would give now; nothing is written or held.

        Raises:
            Busy, Unavailable: the store's.
        """
        before = self._decider.before(question.asked)
        now_ns = self._clock.now_ns()
        with self._store.read() as transaction:
            call = known_call(transaction, question, now_ns)
            verdict = self._decider.decide(transaction, question, call, before, keep=False, now_ns=now_ns)
        return answer_of(question, verdict, self._settings, now_ns, recorded=False)

    def settle(self, reservation_id: str, actual_pico: int | None, tokens: int | None, tenants: Tenants) -> Reservation:
        """See `Reservations.settle`."""
        with self._store.write() as transaction:
            return self._reservations.settle(transaction, reservation_id, actual_pico, tokens, self._clock.now_ns(), tenants)

    def release(self, reservation_id: str, tenants: Tenants) -> Reservation:
        """See `Reservations.release`."""
        with self._store.write() as transaction:
            return self._reservations.release(transaction, reservation_id, self._clock.now_ns(), tenants)

    def expire(self) -> str:
        """Give back all that is held for too long; for the scheduler."""
        ended = 0
        while True:
            with self._store.write() as transaction:
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

    def _before(self, question: Question) -> Ruling | None:
        """What switches and guardrails say; None also where the store is away and this process never read the switches."""
        try:
            return self._decider.before(question.asked)
        except (Busy, Unavailable) as fault:
            self._is_away(str(fault))
            return None

    # --- the line ---

    def _waited(self, one: _Waiting) -> bytes:
        """The answer, by this thread or by another.

        Raises:
            Busy: the line is too long.
            Unavailable: it took too long.
        """
        with self._guard:
            if len(self._line) >= DECISIONS_WAITING_MAX:
                raise Busy("too many decisions wait")
            self._line.append(one)
            one.leads, self._is_led = not self._is_led, True
        if not one.leads and not one.turn.acquire(timeout=self._settings.store_timeout):
            self._give_up(one)
        if one.leads:
            self._lead()
        if one.outcome is None:
            raise Unavailable("it did not answer in time")
        if isinstance(one.outcome, bytes):
            return one.outcome
        raise one.outcome

    def _give_up(self, one: _Waiting) -> None:
        """Wait no longer, unless it has become its turn just now."""
        with self._guard:
            if not one.leads and one in self._line:
                self._line.remove(one)

    def _lead(self) -> None:
        """Decide for the first of the line, and have the next one decide for those behind."""
        with self._guard:
            group = [self._line.popleft() for _ in range(min(len(self._line), DECISIONS_TOGETHER_MAX))]
        try:
            self._decide_group(group)
        finally:
            with self._guard:
                following = self._line[0] if self._line else None
                self._is_led = following is not None
                if following is not None:
                    following.leads = True
                    following.turn.release()

    def _decide_group(self, group: Sequence[_Waiting]) -> None:
        """One transaction for all; where that fails each has one of its own, unless the store itself is away."""
        began = self._clock.monotonic()
        try:
            answers = self._recorded(group)
        except Exception as fault:  # noqa: BLE001 - every question is answered, whatever becomes of one
            is_away = isinstance(fault, Busy | Unavailable)
            if is_away and self._clock.monotonic() - began >= self._settings.store_timeout:
                _give(group, [fault] * len(group))
            elif len(group) > 1 and not is_away:
                for one in group:
                    self._decide_group([one])
            else:
                self._once_more(group)
        else:
            _give(group, answers)

    def _once_more(self, group: Sequence[_Waiting]) -> None:
        """Try again what the database gave up for another transaction, or what lost a race for its key."""
        try:
            answers = self._recorded(group)
        except Exception as fault:  # noqa: BLE001 - as above
            _give(group, [fault] * len(group))
        else:
            _give(group, answers)

    def _is_away(self, why: str) -> None:
        if self._clock.monotonic() >= self._away_until:
            _log.warning("calls are decided on without the store for a moment: %s", why)
        self._away_until = self._clock.monotonic() + _AWAY_S

    # --- one transaction ---

    def _recorded(self, group: Sequence[_Waiting]) -> list[bytes | BaseException]:
        """Decide and record a group in one transaction; the answers as they are stored, KeyReused in place of those that have none."""
        now_ns = self._clock.now_ns()
        self._sweep(now_ns)
        with self._store.write() as transaction:
            calls = self._calls(transaction, [one.question for one in group], now_ns)
            self._decider.lock(transaction, calls)
            book = _Book(transaction, now_ns)
            answers: list[bytes | BaseException] = []
            for one, call in zip(group, calls, strict=True):
                try:
                    answers.append(self._recorded_one(book, one, call))
                except KeyReused as fault:
                    answers.append(fault)
            if book.rows:
                decisions.insert(transaction, book.rows)
                decisions.count(transaction, book.rows, self._stripe)
        return answers

    def _sweep(self, now_ns: int) -> None:
        """Give back what is held for too long, so that nobody is refused for it; not before every transaction.

        It is a transaction of its own: what it gives back to and what is held from next would be locked in two turns, out of order.
        """
        if self._clock.monotonic() - self._swept >= _SWEEP_S:
            with self._store.write() as transaction:
                self._reservations.expire(transaction, now_ns)
            self._swept = self._clock.monotonic()

    def _recorded_one(self, book: _Book, one: _Waiting, call: GovernedCall) -> bytes:
        key = one.key
        if (earlier := book.earlier(call.tenant, key)) is not None:
            if not is_switched_off(one.before) or orjson.loads(earlier)["action"] in HALTING:
                return earlier
            key = None  # a switch that was set since holds, also for who was told to go on before; the key stays the first answer's
        verdict = self._decider.decide(book.transaction, one.question, call, one.before, keep=True, now_ns=book.now_ns)
        answer = orjson.dumps(answer_of(one.question, verdict, self._settings, book.now_ns))
        guardrails.record(book.transaction, one.question.asked.decision_id, call, book.now_ns, verdict)
        book.add(decisions.row_of(one.question.asked.decision_id, verdict, call, book.now_ns, key, answer), key, answer)
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
        self._by_key: dict[tuple[str, str], tuple[str, bytes]] = {}

    def add(self, row: Sequence[Any], key: Key | None, answer: bytes) -> None:
        self.rows.append(row)
        if key is not None:
            self._by_key[row[1], key.key] = (key.asked, answer)

    def earlier(self, tenant: str, key: Key | None) -> bytes | None:
        """What was answered under this key; raises KeyReused where it was asked something else."""
        if key is None:
            return None
        held = self._by_key.get((tenant, key.key)) or decisions.answered(self.transaction, tenant, key.key)
        if held is None:
            return None
        if held[0] != key.asked:
            raise KeyReused("idempotency_key: this key was sent before with another question; make a new key for every call")
        return held[1]


def _give(group: Sequence[_Waiting], answers: Sequence[bytes | BaseException]) -> None:
    for one, answer in zip(group, answers, strict=True):
        one.outcome = answer if isinstance(answer, bytes) else copy(answer)
        if not one.leads:
            one.turn.release()


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
