"""The section `guardrails`: who is asked about a call for what it is about, and what becomes of it when nobody answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from otel_finops.base.limits import GUARDRAILS_MAX, NAME_CHARS_MAX
from otel_finops.settings.outside import checked_headers, checked_place
from otel_finops.settings.section import Section


def _place(text: str) -> str:
    return checked_place(text, "guardrail", "calls", "the guardrail's headers")


class Guardrail(Section):
    """One that is asked.

    Attributes:
        name: what people call it; decisions and reports say so.
        ask: where it is: `https://HOST/PATH`, or PACKAGE.MODULE:FUNCTION.
        headers: for its URL, e.g. a token of our own.
        timeout: seconds for which its answer is waited for.
        fail: what becomes of a call when it does not answer in time and in order: `open` lets it pass, `closed` does not.
    """

    name: Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)]
    ask: Annotated[str, Field(min_length=1), AfterValidator(_place)]
    headers: Annotated[dict[str, str], AfterValidator(checked_headers)] = Field(default={}, repr=False)
    timeout: float = Field(default=0.5, gt=0, le=30)
    fail: Literal["open", "closed"] = "open"


def _names_differ(guardrails: tuple[Guardrail, ...]) -> tuple[Guardrail, ...]:
    names = [one.name for one in guardrails]
    if len(set(names)) < len(names):
        raise ValueError("two guardrails have the same name: decisions could not say which of them it was")
    return guardrails


class Guardrails(Section):
    """Who is asked about a call before it is made."""

    ask: Annotated[tuple[Guardrail, ...], AfterValidator(_names_differ)] = Field(
        default=(),
        max_length=GUARDRAILS_MAX,
        repr=False,
        json_schema_extra={"secret": True},
        description='Guardrails: `[{"name": "pii", "ask": "https://HOST/PATH", "timeout": 0.5, "fail": "open", "headers": {}}]`. All are '
        "asked at once, each for at most `timeout` seconds; `fail` `open` lets a call pass that one of them does not answer for, `closed` "
        "does not. `ask` may name a function, PACKAGE.MODULE:FUNCTION (docs/governance.md).",
    )
