"""What schemathesis checks beside its own: no answer holds anything of the other tenant. Loaded by SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import io
import os
from typing import Any

import schemathesis

FOREIGN = os.environ.get("FOREIGN_MARKS", "").split()


def said(response: Any) -> str:
    """The answer as text, with what stands in a table made readable."""
    text = response.content.decode("utf-8", "replace") + str(response.headers)
    if response.content[:4] == b"PAR1":
        from pyarrow import parquet  # noqa: PLC0415 - an extra

        text += str(parquet.read_table(io.BytesIO(response.content)).to_pylist())
    return text.lower()


@schemathesis.check
def nothing_of_others(ctx: Any, response: Any, case: Any) -> None:
    """Nobody asked for these names, so nobody may be told them."""
    text = said(response)
    found = [mark for mark in FOREIGN if mark in text]
    assert not found, f"the answer tells of another tenant: {found}"
