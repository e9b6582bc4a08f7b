"""Guardrails: who says whether a call may be made for what it is about. A seam: a function of the host application, or an HTTP endpoint.

All of them are asked at once, outside of any transaction and each for a bounded time. Whoever does not answer in time and in order has
said nothing: the settings say for each whether the call passes then. The prompt is no part of what they are asked: nobody sends it here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from threading import Lock, Thread
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from otel_finops.base.clock import Clock
from otel_finops.base.limits import GUARDRAIL_ANSWER_BYTES_MAX, GUARDRAIL_CALLS_MAX, NAME_CHARS_MAX
from otel_finops.base.money import format_usd
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.decide import Asked, Verdict
from otel_finops.governance.rulings import Action, Reason, Ruling
from otel_finops.identity.outside import Disorder, Endpoint, function_at
from otel_finops.settings.guardrails import Guardrail
from otel_finops.settings.guardrails import Guardrails as Settings
from otel_finops.store.unit_of_work import Transaction

_log: Final = logging.getLogger(__name__)

Question: TypeAlias = Mapping[str, Any]
Ask: TypeAlias = Callable[[Question], Mapping[str, Any] | None]
"""What a host application provides: a call to `{"verdict": "allow" | "flag" | "block", "reason"?}`; None is `allow`."""

FLAGGED: Final = "flagged"
BLOCKED: Final = "blocked"
UNANSWERED: Final = "unanswered"
"""Figures of a reason, each "1": by them the report tells what guardrails said."""

_INSERT: Final = (
    "INSERT INTO guardrail_rulings (decision_id, guardrail, tenant, at_ns, said, action, observed, estimate_pico, reason) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


def _one_line(text: str) -> str:
    """A text that can be stored, logged and shown: blanks in place of what is no printable character."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


class Answer(BaseModel):
    """What a guardrail says.

    Attributes:
        verdict: `flag` lets the call pass and puts on record that somebody should look at it.
        reason: one sentence, told to the caller and kept; no content of the call.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    verdict: Literal["allow", "flag", "block"]
    reason: Annotated[str, Field(max_length=NAME_CHARS_MAX), AfterValidator(_one_line)] = ""


class _Silence(NamedTuple):
    """Why a guardrail gave no answer; safe to log and to tell."""

    why: str


class _Asker:
    """One guardrail, asked on threads of their own: a function that never returns keeps nobody waiting, nor the process alive."""

    def __init__(self, settings: Guardrail, ask: Ask) -> None:
        self.settings = settings
        self._ask = ask
        self._lock = Lock()
        self._running = 0
        self._in_trouble = False

    def begin(self, question: Question) -> Future[Answer | _Silence]:
        """Ask; the answer comes into the future."""
        answer: Future[Answer | _Silence] = Future()
        with self._lock:
            if self._running >= GUARDRAIL_CALLS_MAX:
                answer.set_result(_Silence("it is asked too often at a time"))
                return answer
            self._running += 1
        Thread(target=self._run, args=(question, answer), name=f"guardrail {self.settings.name}", daemon=True).start()
        return answer

    def _run(self, question: Question, answer: Future[Answer | _Silence]) -> None:
        try:
            said: Answer | _Silence = _in_order(self._ask(question))
        except Exception as fault:  # noqa: BLE001 - somebody else's function: whatever it raises, it has said nothing
            said = _Silence(_what_went_wrong(fault))
        finally:
            with self._lock:
                self._running -= 1
        answer.set_result(said)

    def heard(self, answer: Future[Answer | _Silence], wait_s: float) -> Answer | _Silence:
        """The answer, waited for no longer than that."""
        try:
            said = answer.result(wait_s)
        except Late:
            said = _Silence(f"it did not answer within {self.settings.timeout:g} s")
        self._tell(said)
        return said

    def _tell(self, said: Answer | _Silence) -> None:
        """Trouble goes to the log once for each time of it."""
        with self._lock:
            known, self._in_trouble = self._in_trouble, isinstance(said, _Silence)
        if isinstance(said, _Silence) and not known:
            passes = "calls pass" if self.settings.fail == "open" else "calls are stopped"
            _log.warning("the guardrail %s fails, %s meanwhile: %s", self.settings.name, passes, said.why)


class AskedGuardrails:
    """All guardrails of the settings (`decide.Guardrails`). Safe to use from many threads."""

    def __init__(self, askers: Sequence[tuple[Guardrail, Ask]], clock: Clock) -> None:
        self._askers = [_Asker(settings, ask) for settings, ask in askers]
        self._clock = clock

    def rule(self, asked: Asked) -> Ruling | None:
        """See `decide.Guardrails`: the first in the order of the settings that blocks decides."""
        question = question_of(asked)
        began = self._clock.monotonic()
        waiting = [(asker, asker.begin(question)) for asker in self._askers]
        reasons = []
        for asker, answer in waiting:
            left_s = max(0.0, asker.settings.timeout - (self._clock.monotonic() - began))
            said = asker.heard(answer, left_s)
            if (reason := _reason(asker.settings, said, asked.call.tenant)) is not None:
                reasons.append(reason)
        if not reasons:
            return None
        reasons.sort(key=lambda one: one.action != "block")
        return Ruling(reasons[0].action, tuple(reasons))


def guardrails_of(settings: Settings, clock: Clock) -> AskedGuardrails | None:
    """Those that the settings name; None where there are none.

    Raises:
        StartRefused: there is no such function.
    """
    return AskedGuardrails([(one, _ask_of(one)) for one in settings.ask], clock) if settings.ask else None


def question_of(asked: Asked) -> Question:
    """What a guardrail is asked: who calls what for whom, and what it may cost; subjects by their clear ids, null what nobody said."""
    call = asked.call
    said = {name: getattr(call, name) for name in _CALL}
    return {
        "decision_id": asked.decision_id,
        "call": {**said, "user": asked.user, "session": asked.session, "trace_id": call.trace, "tags": dict(call.tags)},
        "tokens": call.tokens,
        "counts": dict(asked.facts),
        "estimate_usd": None if call.pico is None else format_usd(call.pico),
    }


def record(transaction: Transaction, decision_id: str, call: GovernedCall, at_ns: int, verdict: Verdict) -> None:
    """Keep what guardrails said of a call, in the transaction that puts the decision on record."""
    rows = [
        (
            decision_id, one.rule, call.tenant, at_ns, _said_in(one), one.action, verdict.observed, call.pico, one.text[:NAME_CHARS_MAX],
        )
        for one in verdict.reasons
        if one.gate == "guardrail"
    ]  # fmt: skip
    if rows:
        transaction.executemany(_INSERT, rows)


_CALL: Final = (
    "tenant", "provider", "model", "operation", "agent", "step", "purpose", "cost_center", "service", "environment",
)  # fmt: skip


def _said_in(reason: Reason) -> str:
    return next(name for name in (FLAGGED, BLOCKED, UNANSWERED) if name in reason.figures)


def _reason(settings: Guardrail, said: Answer | _Silence, tenant: str) -> Reason | None:
    """What is to be told of an answer; None: that the call may be made."""
    name = settings.name
    if isinstance(said, _Silence):
        action: Action = "allow" if settings.fail == "open" else "block"
        done = "passes" if action == "allow" else "is stopped"
        text = f"the guardrail {name} could not be asked ({said.why}); the call {done} (fail: {settings.fail})"
        return Reason("guardrail", action, name, None, text, {UNANSWERED: "1"}, tenant)
    if said.verdict == "allow":
        return None
    because = f": {said.reason}" if said.reason else ""
    if said.verdict == "flag":
        return Reason("guardrail", "allow", name, None, f"flagged by the guardrail {name}{because}", {FLAGGED: "1"}, tenant)
    return Reason("guardrail", "block", name, None, f"blocked by the guardrail {name}{because}", {BLOCKED: "1"}, tenant)


def _ask_of(settings: Guardrail) -> Ask:
    if "://" not in settings.ask:
        return function_at(settings.ask, f"guardrails.ask ({settings.name})")
    endpoint = Endpoint(
        settings.ask, settings.headers, timeout_s=settings.timeout, calls_max=GUARDRAIL_CALLS_MAX,
        answer_bytes_max=GUARDRAIL_ANSWER_BYTES_MAX,
    )  # fmt: skip

    def ask(question: Question) -> Mapping[str, Any] | None:
        status, text = endpoint.post(json.dumps(question).encode())
        if status != 200:
            raise Disorder(f"it answered {status}")
        return json.loads(text)  # type: ignore[no-any-return]

    return ask


def _in_order(answer: object) -> Answer:
    if answer is None:
        return Answer(verdict="allow")
    if not isinstance(answer, Mapping):
        raise Disorder("its answer is no object with a verdict")
    return Answer.model_validate(dict(answer))


def _what_went_wrong(fault: Exception) -> str:
    """In words that repeat nothing of what was asked or answered."""
    if isinstance(fault, Disorder):
        return str(fault)
    return "its answer is not in order" if isinstance(fault, ValidationError) else type(fault).__name__
