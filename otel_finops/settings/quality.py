"""The section `quality`: where scores of models come from."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from otel_finops.base.limits import NAME_CHARS_MAX
from otel_finops.settings.paths import file_path
from otel_finops.settings.section import Section


def _origin(text: str) -> str:
    if "://" not in text:
        return file_path(text)
    if not text.startswith("https://"):
        raise ValueError("not a place of quality scores; write https://HOST/PATH, or a file")
    return text


class Quality(Section):
    """Scores of models, for routing rules."""

    import_from: Annotated[str, Field(max_length=2_048), AfterValidator(_origin)] = Field(
        default="",
        description="An https URL or a file, JSON or CSV, from which `quality import` takes scores when nothing else is named; empty: "
        "nothing is fetched.",
    )
    source: Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)] = Field(
        default="imported", description="What the source of these scores is called where `quality import` names none."
    )
    timeout: float = Field(default=60.0, ge=1, le=600, description="Seconds that fetching them may take.")
    outcome_days: int = Field(
        default=30, ge=1, le=366, description="Days back of which the ledger's own outcomes are read as scores (source `outcomes`)."
    )
