"""What a span says that a guardrail said, in the words of whoever wrote it.

There is no settled convention (November 2026): the drafts of the GenAI conventions, and what libraries send meanwhile, are read side by
side, what the caller did about it before what the guardrail found. Free texts in which a guardrail explains itself are not read, since
they may quote what people wrote; of our own keys they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.span import Attributes
from otel_finops.genai.sighting import GuardrailVerdict
from otel_finops.genai.texts import clean_name, first_name

BLOCK: Final = "block"
FLAG: Final = "flag"


class _Convention(NamedTuple):
    """Where one of them says the verdict, who gave it, and why in one word or code."""

    verdict: str
    names: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


_SECURITY_NAMES: Final = ("gen_ai.security.guardrail.name", "gen_ai.guardrail.name", "gen_ai.security.policy.name")
_SECURITY_REASONS: Final = ("gen_ai.security.verdict.code", "gen_ai.security.policy.rule.id")
_CONVENTIONS: Final = (
    _Convention("finops.guardrail.verdict", ("finops.guardrail.name",), ("finops.guardrail.reason",)),
    _Convention("gen_ai.security.action.type", _SECURITY_NAMES, _SECURITY_REASONS),
    _Convention("gen_ai.security.verdict.type", _SECURITY_NAMES, _SECURITY_REASONS),
    _Convention(
        "gen_ai.security.decision.type", ("gen_ai.guardian.name", "gen_ai.security.policy.name"), ("gen_ai.security.decision.code",)
    ),
    _Convention(
        "microsoft.security.decision.type",
        ("microsoft.guardian.name", "microsoft.security.policy.name"),
        ("microsoft.security.decision.code",),
    ),
    _Convention("gen_ai.guardrail.action", ("gen_ai.guardrail.name",)),
    _Convention("gen_ai.guardrail.status", ("gen_ai.guardrail.name",)),
    _Convention("gen_ai.guardrail.triggered", ("gen_ai.guardrail.name",)),
    _Convention("gen_ai.guardrail.tripwire_triggered", ("gen_ai.guardrail.name",)),
    _Convention("guardrail_status", ("guardrail_name",)),
)
KEYS: Final = frozenset(key for convention in _CONVENTIONS for key in (convention.verdict, *convention.names, *convention.reasons))
"""Every attribute that is read here."""
_ALLOWED: Final = frozenset((
    "allow", "allowed", "pass", "passed", "ok", "success", "safe", "benign", "clean", "none", "no_action", "not_applied", "false", "error",
    "guardrail_failed_to_respond",
))  # fmt: skip
"""Nothing is wrong with the call; a guardrail that failed has found nothing."""
_BLOCKED: Final = frozenset((
    "block", "blocked", "deny", "denied", "reject", "rejected", "refuse", "refused", "escalate", "terminate", "true", "intervened",
    "guardrail_intervened",
))  # fmt: skip
"""The call, or its answer, went no further. Whatever else is said is a flag: warn, audit, modify, failed, ..."""
_UNNAMED: Final = "unnamed"

Reader: TypeAlias = Callable[[Attributes], GuardrailVerdict | None]


def verdict_reader(keys: Collection[str]) -> Reader | None:
    """What reads spans with these keys; None where they say nothing of guardrails."""
    present = [convention for convention in _CONVENTIONS if convention.verdict in keys]
    if not present:
        return None

    def read(attributes: Attributes) -> GuardrailVerdict | None:
        found = [(word, convention) for convention in present if (word := _word(attributes[convention.verdict])) is not None]
        wrong = [(word, convention) for word, convention in found if word not in _ALLOWED]
        if not wrong:
            return None
        said, convention = wrong[0]
        name = first_name(attributes[key] for key in convention.names if key in attributes)
        why = first_name(attributes[key] for key in convention.reasons if key in attributes)
        return GuardrailVerdict(BLOCK if said in _BLOCKED and found[0][0] == said else FLAG, name or _UNNAMED, why or said)

    return read


def _word(value: object) -> str | None:
    """A verdict as one lower-case word; None for what is none."""
    if isinstance(value, bool):
        return str(value).lower()
    name = clean_name(value)
    return None if name is None else name.lower().replace(" ", "_").replace("-", "_")
