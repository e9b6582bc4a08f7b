"""What spans say that guardrails said: each convention's own words, and which of them win."""

from __future__ import annotations

from typing import Any

import pytest
from genai_corpus import ANYONE, normaliser
from span_making import chat, sighting, span

from otel_finops.genai.guardrail_verdicts import KEYS
from otel_finops.genai.sighting import CALL, OTHER, GuardrailVerdict


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (
            {"finops.guardrail.verdict": "flag", "finops.guardrail.name": "pii", "finops.guardrail.reason": "an address"},
            ("flag", "pii", "an address"),
        ),
        ({"gen_ai.security.decision.type": "deny", "gen_ai.guardian.name": "Model Armor"}, ("block", "Model Armor", "deny")),
        ({"gen_ai.security.decision.type": "warn", "gen_ai.security.policy.name": "screen"}, ("flag", "screen", "warn")),
        ({"gen_ai.security.decision.type": "modify", "gen_ai.security.decision.code": "DLP-7"}, ("flag", "unnamed", "DLP-7")),
        ({"microsoft.security.decision.type": "deny", "microsoft.guardian.name": "Content Safety"}, ("block", "Content Safety", "deny")),
        ({"gen_ai.security.verdict.type": "deny", "gen_ai.security.guardrail.name": "jailbreak"}, ("block", "jailbreak", "deny")),
        ({"gen_ai.security.verdict.type": "deny", "gen_ai.security.action.type": "allow"}, ("flag", "unnamed", "deny")),
        ({"gen_ai.security.verdict.type": "warn", "gen_ai.security.action.type": "block"}, ("block", "unnamed", "block")),
        ({"gen_ai.guardrail.status": "FAILED", "gen_ai.guardrail.name": "toxicity"}, ("flag", "toxicity", "failed")),
        ({"gen_ai.guardrail.triggered": True, "gen_ai.guardrail.name": "math"}, ("block", "math", "true")),
        ({"gen_ai.guardrail.action": "Deny"}, ("block", "unnamed", "deny")),
        ({"guardrail_status": "guardrail_intervened", "guardrail_name": "presidio"}, ("block", "presidio", "guardrail_intervened")),
    ],
)  # fmt: skip
def test_each_convention_is_read(said: dict[str, Any], verdict: tuple[str, str, str]) -> None:
    assert sighting(said).guardrail == GuardrailVerdict(*verdict)
    assert sighting(chat() | said).guardrail == GuardrailVerdict(*verdict)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"finops.guardrail.verdict": "allow", "finops.guardrail.name": "pii"},
        {"gen_ai.security.decision.type": "allow"},
        {"gen_ai.guardrail.status": "PASSED"},
        {"gen_ai.guardrail.status": "ERROR"},
        {"gen_ai.guardrail.triggered": False},
        {"guardrail_status": "success"},
        {"finops.guardrail.name": "pii"},
        {"finops.guardrail.verdict": ["block"]},
        {"finops.guardrail.verdict": ""},
    ],
)
def test_what_was_allowed_is_not_told(said: dict[str, Any]) -> None:
    assert sighting(chat() | said).guardrail is None


def test_free_texts_of_others_are_never_read() -> None:
    assert not [key for key in KEYS if key.endswith((".reason", ".input", ".output")) and not key.startswith("finops.")]
    assert normaliser().wanted.exact >= KEYS


def test_a_span_that_runs_a_guardrail_is_no_model_call() -> None:
    said = {"gen_ai.operation.name": "apply_guardrail", "gen_ai.request.model": "gpt-4o", "gen_ai.security.decision.type": "allow"}
    assert sighting(said).kind == OTHER
    assert sighting(chat(usage__input_tokens=1)).kind == CALL
    assert normaliser()(span({"guardrail_status": "blocked"}), ANYONE).genai is False  # a skeleton may tell as well
