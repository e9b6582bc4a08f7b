"""The section `outcomes`: by which attributes and words spans tell how work came out."""

from __future__ import annotations

from typing import Annotated, Self, TypeAlias

from pydantic import Field, model_validator

from otel_finops.settings.section import Section

Key: TypeAlias = Annotated[str, Field(min_length=1, max_length=512)]
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]


def folded(word: str) -> str:
    """A word as words are compared."""
    return word.strip().lower().replace(" ", "_").replace("-", "_")


class Outcomes(Section):
    """How spans tell success from failure."""

    keys: tuple[Key, ...] = Field(
        default=("finops.outcome",),
        max_length=32,
        description="Attributes of spans that say how the work below them came out, best first; read from any span, e.g. an agent's.",
    )
    name_keys: tuple[Key, ...] = Field(
        default=("finops.outcome.name",),
        max_length=32,
        description="Attributes that name the kind of outcome, e.g. `ticket_resolved`, best first; it is `task` where none does.",
    )
    success: tuple[Word, ...] = Field(
        default=("success", "succeeded", "successful", "ok", "pass", "passed", "true", "yes", "completed", "resolved"),
        max_length=200,
        description="Words for success, in any case; `true` stands for a boolean as well.",
    )
    failure: tuple[Word, ...] = Field(
        default=("failure", "failed", "fail", "error", "false", "no", "unresolved", "abandoned", "rejected", "cancelled"),
        max_length=200,
        description="Words for failure; what is neither says nothing.",
    )

    @model_validator(mode="after")
    def _no_word_means_both(self) -> Self:
        if {folded(word) for word in self.success} & {folded(word) for word in self.failure}:
            raise ValueError("a word stands in `success` and in `failure`; leave it out of one of them")
        return self
