"""What all sections and parts of the settings have in common."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

SECRET: Final[JsonDict] = {"secret": True}
"""Marks a field whose value is never shown, not even in a fault."""


class Section(BaseModel):
    """Strict, never changed, and silent about what was given in its faults."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False, populate_by_name=True
    )
