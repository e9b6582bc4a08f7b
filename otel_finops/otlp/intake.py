"""What both listeners do with a request once its bytes are there: authenticate, hand over, count, answer."""

from __future__ import annotations

from typing import NamedTuple

from otel_finops.base.protocols import Credential, ExportRequest, SenderAuth, TraceIntake
from otel_finops.otlp.admission import Admission
from otel_finops.otlp.bearer import bearer_token
from otel_finops.otlp.counters import ReceiverCounters
from otel_finops.otlp.signals import IgnoredSignals, SignalName, export_answer
from otel_finops.otlp.status import Refusal, Refusals


class Reception(NamedTuple):
    """What the listeners share; one for the process, so that the budget and the counters cover all of them.

    Attributes:
        intake, log_intake: what stands behind for traces and for logs; logs without one are ignored as metrics are.
    """

    intake: TraceIntake
    auth: SenderAuth
    admission: Admission
    counters: ReceiverCounters
    ignored: IgnoredSignals
    refusals: Refusals
    log_intake: TraceIntake | None = None

    def credential(self, authorization: str | bytes | None) -> Credential:
        """Who sends, from an `Authorization` value; raises Unauthenticated or Forbidden."""
        return self.auth(bearer_token(authorization))

    def answer(self, signal: SignalName, transport: str, request: ExportRequest) -> bytes:
        """Take in one request of any signal and return the body of its OK; raises what the intake raises."""
        intake = {"traces": self.intake, "logs": self.log_intake}.get(signal)
        if intake is None:
            return self.ignored.answer(signal, request.encoding)
        self.counters.received(transport, len(request.body))
        outcome = intake(request)
        self.counters.answered(outcome, "log_records" if signal == "logs" else "spans")
        return export_answer(signal, outcome, request.encoding)

    def refuse(self, error: Exception) -> Refusal:
        """Count `error` and return what its sender is answered."""
        refusal = self.refusals.refusal(error)
        self.counters.refused(refusal.fault.name)
        return refusal


def reception(intake: TraceIntake, auth: SenderAuth, admission: Admission, refusals: Refusals) -> Reception:
    """A `Reception` with its own counters."""
    counters = ReceiverCounters()
    return Reception(intake, auth, admission, counters, IgnoredSignals(counters), refusals)
