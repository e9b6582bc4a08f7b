"""Policies that ship with the product: guards against loops that run away. None of them holds until somebody makes it his own."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_finops.governance.rates import Rate
from otel_finops.governance.rulings import Action


class ReadyPolicy(NamedTuple):
    """A policy to be made; what people say beside its name goes before what it says.

    Attributes:
        limit: the number in its condition, which people set to what their agents need; "" where it has none.
        condition: with `{limit}` in its place.
    """

    name: str
    description: str
    action: Action
    condition: str | None = None
    limit: str = ""
    rate: Rate | None = None

    def condition_with(self, limit: str | None) -> str | None:
        """The condition with a limit of one's own."""
        return None if self.condition is None else self.condition.replace("{limit}", limit or self.limit)


READY: Final = (
    ReadyPolicy(
        "runaway-trace-cost", "Stops a run that has cost more than it can be worth.", "block", "trace.cost_usd >= {limit}", "5.0",
    ),
    ReadyPolicy("runaway-trace-calls", "Stops a run that calls models again and again.", "block", "trace.calls >= {limit}", "200"),
    ReadyPolicy(
        "runaway-trace-minute", "Stops a run that calls models faster than work gets done.", "block",
        "trace.calls_per_minute >= {limit}", "60",
    ),
    ReadyPolicy(
        "runaway-trace-cost-minute", "Stops a run that spends faster than anybody can look.", "block",
        "trace.cost_usd_per_minute >= {limit}", "1.0",
    ),
    ReadyPolicy(
        "runaway-trace-depth", "Stops agents that start agents that start agents.", "block", "trace.depth >= {limit}", "8",
    ),
    ReadyPolicy(
        "runaway-session-cost", "Stops a conversation that has cost more than it can be worth.", "block", "session.cost_usd >= {limit}",
        "20.0",
    ),
    ReadyPolicy(
        "runaway-session-calls", "Stops a conversation that calls models again and again.", "block", "session.calls >= {limit}", "1000",
    ),
    ReadyPolicy(
        "runaway-session-minute", "Stops a conversation that calls models faster than anybody reads.", "block",
        "session.calls_per_minute >= {limit}", "60",
    ),
    ReadyPolicy(
        "paced-agents", "Lets each agent make 120 calls a minute, and has the others wait.", "throttle", rate=Rate(120, 60.0, "agent"),
    ),
    ReadyPolicy(
        "dear-calls", "Asks for somebody's approval of a single call that is estimated at so much.", "require_approval",
        "estimate.usd >= {limit}", "1.0",
    ),
)  # fmt: skip
"""By name. Their limits are where to begin, not what is right for everybody."""


def ready(name: str) -> ReadyPolicy | None:
    """The one of this name."""
    return next((one for one in READY if one.name == name), None)
