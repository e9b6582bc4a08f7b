"""Asking the service whether a call may be made, and what holds when it cannot be asked: the same for every part of the client."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from otel_finops.client.faults import CallBlocked, ServiceAway
from otel_finops.client.settings import ClientSettings
from otel_finops.client.transport import Answer, Transport

_log: Final = logging.getLogger(__name__)

HALTING: Final = frozenset(("block", "require_approval", "throttle", "queue"))
"""The call must not be made now."""
_ACTIONS: Final = HALTING | {"allow", "downgrade"}
_AWAY_STATUS: Final = 503
"""A fail-closed client's answer while the service is away: the fault is nobody's budget."""
_TEXT_CHARS_MAX: Final = 256
"""The service's own limit of names; a longer one would have the whole question refused."""
_COUNT_MAX: Final = 1_000_000_000
"""Likewise of counts: what applications set for no limit at all is more."""
_SECONDS_MAX: Final = 366 * 86_400.0
"""A year: no window of a budget is longer, and what is said to take longer is nonsense."""
_STRANGERS_MAX: Final = 1_000
"""Tenants remembered as not the token's; of further ones each call asks twice."""


class Decision(NamedTuple):
    """What the service said of a call.

    Attributes:
        action: `allow`, `block`, `require_approval`, `downgrade`, `throttle` or `queue`.
        http_status: what a caller of the application should be answered.
        reasons: rule, sentence and figures of all that were asked, in the order of asking.
        decision_id, reservation_id: by which the service knows them; None where nothing is on record or held.
        estimate_usd: what the call may cost, a decimal string; None where nobody knows.
        retry_after_s: when to try again; None where that would not help.
        model: what to call instead, for `downgrade`.
        approval_id: what somebody has to approve, for `require_approval`.
        away: the service was not there, and the client's own setting decided.
    """

    action: str
    http_status: int = 200
    reasons: Sequence[Mapping[str, Any]] = ()
    decision_id: str | None = None
    reservation_id: str | None = None
    estimate_usd: str | None = None
    retry_after_s: float | None = None
    model: str | None = None
    approval_id: str | None = None
    away: bool = False

    @property
    def halts(self) -> bool:
        """Whether the call must not be made now."""
        return self.action in HALTING

    @property
    def why(self) -> str:
        """The sentence of the rule that decided; empty where none says one."""
        said = [reason for reason in self.reasons if reason.get("text")]
        deciding = next((reason for reason in said if reason.get("action") == self.action), said[0] if said else {})
        return str(deciding.get("text", ""))

    def blocked(self) -> CallBlocked:
        """The exception that stops the call; its message says why, and what to do."""
        return CallBlocked(
            _sentence(self),
            action=self.action,
            http_status=self.http_status,
            reasons=self.reasons,
            decision_id=self.decision_id,
            retry_after_s=self.retry_after_s,
            approval_id=self.approval_id,
        )


class DecisionDesk:
    """Asks for decisions and settles what was held; made for many threads, never raises.

    Args:
        transport: how the service is reached; None: as `settings` say.
    """

    def __init__(self, settings: ClientSettings, transport: Transport | None = None) -> None:
        self._settings = settings
        self._transport = transport or Transport(settings)
        self._refusals: set[int] = set()
        self._strangers: set[str] = set()

    def ask(self, call: Mapping[str, Any]) -> Decision:
        """Whether a call may be made.

        Args:
            call: the fields of `POST /api/v1/decisions`; those that are None are left out, names that are too long are cut. Without an
                `idempotency_key` it gets one, so that a question that is sent again on another connection holds nothing twice.
        """
        if not self._settings.on:
            return Decision("allow")
        body = {name: _sendable(value) for name, value in call.items() if value is not None}
        if body.get("tenant") in self._strangers:
            body.pop("tenant")
        try:
            return self._read(self._put(body))
        except ServiceAway as fault:
            return self.undecided(str(fault), fault.retry_after_s)

    def _put(self, body: Mapping[str, Any]) -> Answer:
        """Put a question. A tenant for which the token does not speak is left out: the ledger books such calls under the token's own."""
        answer = self._transport.post("/decisions", {"idempotency_key": secrets.token_hex(16), **body})
        if answer.status != 404 or "tenant" not in body:
            return answer
        others = {name: value for name, value in body.items() if name != "tenant"}
        again = self._transport.post("/decisions", {"idempotency_key": secrets.token_hex(16), **others})
        if again.ok and len(self._strangers) < _STRANGERS_MAX:
            self._strangers.add(body["tenant"])
            _log.warning("The client's token does not speak for tenant %r: its calls are decided as the token's own.", body["tenant"])
        return again

    def settle(self, reservation_id: str, actual_usd: str | None = None, tokens: int | None = None) -> bool:
        """Say that a call has ended, and what it came to (None: nobody knows, what is held stays until the ledger has booked it).

        Returns:
            Whether the service took it; what is not settled ends by itself at its expiry.
        """
        body = {name: value for name, value in (("actual_usd", actual_usd), ("tokens", tokens)) if value is not None}
        return self._tell(f"/reservations/{quote(reservation_id, safe='')}/settle", body)

    def release(self, reservation_id: str) -> bool:
        """Give back what is held for a call that was not made; as `settle`."""
        return self._tell(f"/reservations/{quote(reservation_id, safe='')}/release", {})

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    def _tell(self, path: str, body: Mapping[str, Any]) -> bool:
        try:
            answer = self._transport.post(path, body)
        except ServiceAway as fault:
            _log.debug("A reservation was left to expire: %s", fault)
            return False
        if not answer.ok:
            self._refused(answer)
        return answer.ok

    def _read(self, answer: Answer) -> Decision:
        if not answer.ok:
            self._refused(answer)
            return self.undecided(f"The service refused to decide: {answer.detail}")
        body = answer.body
        action, status, reasons = body.get("action"), body.get("http_status"), body.get("reasons")
        if not isinstance(action, str) or action not in _ACTIONS:
            return self.undecided("The service's answer is no decision.")
        return Decision(
            action,
            status if isinstance(status, int) else (402 if action in HALTING else 200),
            [reason for reason in reasons if isinstance(reason, Mapping)] if isinstance(reasons, list) else [],
            decision_id=_text(body.get("decision_id")),
            reservation_id=_text(body.get("reservation_id")),
            estimate_usd=_text(body.get("estimate_usd")),
            retry_after_s=_seconds(body.get("retry_after_s")),
            model=_text(body.get("model")),
            approval_id=_text(body.get("approval_id")),
        )

    def _refused(self, answer: Answer) -> None:
        """Tell of a question that the service does not take; once for each status, as every call would repeat it."""
        if answer.status not in self._refusals:
            self._refusals.add(answer.status)
            _log.error("The service refused with status %d: %s", answer.status, answer.detail)

    def undecided(self, why: str, retry_after_s: float | None = None) -> Decision:
        """What holds when there is no decision."""
        action = "block" if self._settings.fail == "closed" else "allow"
        reason: dict[str, Any] = {
            "gate": "client",
            "action": action,
            "rule": f"fail {self._settings.fail}",
            "rule_id": None,
            "text": why,
            "figures": {},
        }
        status = _AWAY_STATUS if action == "block" else 200
        return Decision(action, status, (reason,), retry_after_s=retry_after_s if action == "block" else None, away=True)


def _sentence(decision: Decision) -> str:
    if decision.away:
        return f"The model call was not made: {decision.why} This client is set to fail closed (OTEL_FINOPS_FAIL)."
    number = f" (decision {decision.decision_id})" if decision.decision_id else ""
    parts = (f"The model call was not made{number}", decision.why, _what_to_do(decision))
    return " ".join(part if part[-1] in ".!?" else f"{part}." for part in parts if part)


def _what_to_do(decision: Decision) -> str:
    if decision.action == "require_approval":
        return f"Have it approved{f' (approval {decision.approval_id})' if decision.approval_id else ''} and try again."
    if decision.retry_after_s is not None:
        return f"Try again in {decision.retry_after_s:g} s."
    return ""


def _sendable(value: Any) -> Any:
    """A field as the service takes it, so that one that is out of bounds does not have the whole question refused."""
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, int):
        return min(value, _COUNT_MAX)
    return {_cut(str(key)): _cut(str(one)) for key, one in value.items()} if isinstance(value, Mapping) else value


def _cut(name: str) -> str:
    """Names as the service takes them: it cuts those of spans in the same way, so that budgets still find theirs."""
    text = name.replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= _TEXT_CHARS_MAX else text[: _TEXT_CHARS_MAX - 1] + "…"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: Any) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _SECONDS_MAX
    return float(value) if known else None
