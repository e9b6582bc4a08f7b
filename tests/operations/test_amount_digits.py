"""Amounts in inputs have plain digits: others look the same to a pattern, and are none to what reads the amount."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from otel_finops.base.errors import BadInput
from otel_finops.operations import approvals, budget_fields, cost_center_fields, credit_fields, fields, policy_fields

AMOUNTS = {
    "fields": fields.Amount, "approvals": approvals.Amount, "budgets": budget_fields.Amount,
    "cost centres": cost_center_fields.SignedAmount,
    "credits": credit_fields.Amount, "credits signed": credit_fields.SignedAmount, "policies": policy_fields.MinCost,
    "policies' limits": policy_fields.Limit,
}  # fmt: skip


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize("text", ["\u0661", "1.\u0661", "\uff11\uff12"])
def test_digits_of_other_scripts_are_no_amount(name: str, text: str) -> None:
    reader: TypeAdapter[Any] = TypeAdapter(AMOUNTS[name])
    with pytest.raises((ValidationError, BadInput)):
        reader.validate_python(text)
    assert reader.validate_python("12.5")
