"""Shapes of answers that several operations share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

Usd: TypeAlias = Annotated[
    str, Field(pattern=r"^-?\d+(\.\d{1,12})?$", description="USD as a plain decimal string.", json_schema_extra={"example": "0.0072275"})
]
Count: TypeAlias = Annotated[int, Field(ge=0)]
At: TypeAlias = Annotated[str, Field(description="RFC 3339, UTC, nine digits.")]
