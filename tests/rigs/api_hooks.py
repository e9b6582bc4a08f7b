"""What schemathesis checks beside its own: no answer holds anything of the other tenant. Loaded by SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from answer_texts import readable

FOREIGN = os.environ.get("FOREIGN_MARKS", "").split()


@schemathesis.check
def nothing_of_others(ctx: Any, response: Any, case: Any) -> None:
    """Nobody asked for these names, so nobody may be told them."""
    text = f"{readable(response.content)} {response.headers}".lower()
    found = [mark for mark in FOREIGN if mark in text]
    assert not found, f"the answer tells of another tenant: {found}"
