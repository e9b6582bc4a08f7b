"""What a call would cost, and whether it would be let through, before anybody makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from otel_finops.base.limits import UNITS_PER_CALL_MAX
from otel_finops.identity.principals import Principal
from otel_finops.operations.asked_calls import question_of
from otel_finops.operations.context import Context
from otel_finops.operations.decisions import DRY_RUN, DecisionAnswer
from otel_finops.operations.described_calls import CallInput, CallPricer, Text, counted, own_tenant, unknown_fields
from otel_finops.operations.kill_switches import ShownSwitch, shown_switch
from otel_finops.operations.pricing import Quoted
from otel_finops.operations.registry import Json, operation


class EstimateInput(CallInput):  # type: ignore[valid-type,misc]  # a model made of the contract's field names
    """A call as `pricing.quote` takes it, or as one asks for a decision."""

    input_tokens: int | None = Field(
        default=None, ge=0, le=UNITS_PER_CALL_MAX, description="Prompt tokens, all taken as uncached; in place of input_tokens_uncached."
    )
    text_chars: int | None = Field(
        default=None,
        ge=0,
        le=UNITS_PER_CALL_MAX,
        description="Characters of the prompt where its tokens are unknown: four are one token.",
    )
    max_output_tokens: int | None = Field(
        default=None, ge=0, le=UNITS_PER_CALL_MAX, description="Most tokens that may come back, where output_tokens is not known."
    )
    operation: Text | None = Field(default=None, description="What for, e.g. chat.")
    step: Text | None = Field(default=None, description="Of which step.")
    session: Text | None = Field(default=None, description="Of which session.")
    trace_id: Text | None = Field(default=None, description="Of which trace.")


class Decided(DecisionAnswer):
    """What would become of the call: the answer that `decisions.create` would give now."""

    switches: list[ShownSwitch] = Field(description="The kill switches that stop it.")


class Estimate(Quoted):
    """What the call would cost, at most where only bounds are known, and whether it would be let through."""

    guessed: list[str] = Field(description="Counts that are guesses or upper bounds, and of what.")
    decision: Decided


@operation(
    "diagnostics.estimate",
    "diagnostics/estimate",
    takes=EstimateInput,
    output=Estimate,
    permission="view",
    feature="diagnostics",
    by_body=True,
    summary="Say what a call would cost and whether it would be let through; nothing is recorded.",
)
def estimate(context: Context, principal: Principal, given: Any) -> Json:
    """The price is that of `pricing.quote`, the decision a dry run of `decisions.create`."""
    from otel_finops.governance.decision_desk import told  # noqa: PLC0415 - `--help` must not load the database rooms

    asked = given.record()
    record, guessed = counted(asked)
    priced = CallPricer(context, principal).priced(record).shown()
    question = question_of(context, principal, asked, {}, DRY_RUN)
    stopping = context.switches.stopping(_attempt(principal, record))
    return {
        **priced,
        "ignored": unknown_fields(given.model_extra or {}),
        "guessed": guessed,
        "decision": {
            **told(context.decisions.try_out(context.decisions.posed(question)), principal.tenants),
            "switches": [shown_switch(one) for one in stopping],
        },
    }


def _attempt(principal: Principal, record: Mapping[str, Any]) -> Any:
    from otel_finops.governance.kill_switches import Attempt  # noqa: PLC0415 - `--help` must not load the database rooms

    return Attempt(record.get("tenant") or own_tenant(principal), record.get("provider"), record.get("model"), record.get("agent"))
