"""What the client raises in an application: a call that must not be made, and, among its own parts, a service that is away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_finops.base.errors import FinopsError


class ServiceAway(FinopsError):
    """The service gave no usable answer in time; the client's parts turn this into what `OTEL_FINOPS_FAIL` says, or into None.

    Attributes:
        retry_after_s: when the service may be asked again; None where nobody said.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CallBlocked(FinopsError):
    """The model call must not be made now; it did not reach the provider.

    Attributes:
        action: `block`, `require_approval`, `throttle` or `queue`.
        http_status: what a caller of the application should be answered, 402 by default.
        reasons: why, as the service says it: rule, sentence and figures of all that were asked, in the order of asking.
        decision_id: by which the decision is found in the service; None when the service was away and the client is fail-closed.
        retry_after_s: when to try again; None where that would not help.
        approval_id: what somebody has to approve; None for all but `require_approval`.
    """

    def __init__(
        self,
        message: str,
        *,
        action: str = "block",
        http_status: int = 402,
        reasons: Sequence[Mapping[str, Any]] = (),
        decision_id: str | None = None,
        retry_after_s: float | None = None,
        approval_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.action = action
        self.http_status = http_status
        self.reasons = tuple(reasons)
        self.decision_id = decision_id
        self.retry_after_s = retry_after_s
        self.approval_id = approval_id


class CallStopped(BaseException):
    """`CallBlocked` where an instrumentation catches every `Exception`: raised only when `OTEL_FINOPS_INSIST` says so.

    Like `KeyboardInterrupt` it passes `except Exception`, in the application too: catch it by its name.

    Attributes:
        blocked: what was decided, and why.
    """

    def __init__(self, blocked: CallBlocked) -> None:
        super().__init__(str(blocked))
        self.blocked = blocked
