"""Quality scores of models: importing them, and looking them up."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import QUALITY_FILE_BYTES_MAX
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, page_of
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.scope_fields import owner_of, shown_owner
from otel_finops.operations.shapes import At, Count
from otel_finops.operations.whatif_fields import Ratio, ratio_text

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.quality import Score
    from otel_finops.insight.quality_store import Import

_CONTENT_CHARS_MAX: Final = QUALITY_FILE_BYTES_MAX * 4 // 3 + 4


class ScoresFile(Input):
    """A file of scores: JSON or CSV with `model` and `score` (0 to 1), and where they are known `provider`, `task`, `samples`."""

    source: Name | None = Field(
        default=None,
        min_length=1,
        description="What the source is called, whose former file stands no longer; quality.source if none.",
    )
    from_: str | None = Field(
        default=None,
        alias="from",
        max_length=2_048,
        description="File or https:// URL, on the command line only; quality.import_from when it is not given.",
    )
    content: str | None = Field(
        default=None, max_length=_CONTENT_CHARS_MAX, description="The file itself in base64; `from` is its name then."
    )
    tenant: Name | None = Field(default=None, description="Whose calls the scores are about; all that one may see when not given.")
    dry_run: bool = Field(default=False, description="Check the file; nothing is stored.")


class ScoresImport(Output):
    """A file of scores that stands for its source."""

    no: int | None = Field(description="Null: it was only tried.")
    source: str
    tenant: str | None = Field(description="Whose calls the scores are about; null: all.")
    origin: str
    sha256: str
    scores: Count
    at: At
    who: str
    new: bool = Field(description="False: this very file stands already.")


@operation(
    "quality.import",
    "quality/import",
    takes=ScoresFile,
    output=ScoresImport,
    permission="manage",
    feature="routing",
    changes=True,
    runs=True,
    agents=False,
    summary="Import quality scores of models from a file.",
)
def import_scores(context: Context, principal: Principal, given: ScoresFile) -> Changed | Unchanged:
    """All of the file or nothing; one without any score takes its source's scores away."""
    owner = owner_of(principal, given.tenant)
    content, origin = _file_of(context, given)
    source = given.source or context.settings.quality.source
    made, new = context.routing.quality.add(owner, source, content, origin, who=principal.who, dry_run=given.dry_run)
    shown = {**_import(made), "new": new}
    if given.dry_run:
        return Unchanged({**shown, "no": None if new else made.no})
    return Changed(shown, None, shown, owner) if new else Unchanged(shown)


def _file_of(context: Context, given: ScoresFile) -> tuple[bytes, str]:
    if given.content is None:
        return context.routing.fetched(given.from_)
    try:
        return base64.b64decode(given.content, validate=True), given.from_ or "content"
    except ValueError:  # of characters beyond ASCII too
        raise BadInput("content: no base64") from None


class QualityScoreQuery(Paged):
    """Which scores."""

    model: Name | None = Field(default=None, description="Only of this model.")
    task: Name | None = Field(default=None, description="Only of this task.")
    source: Name | None = Field(default=None, description="Only of this source; `outcomes`: the ledger's own.")


class QualityScore(Output):
    """A score."""

    provider: str | None = Field(description="Null: whoever serves the model.")
    model: str
    task: str | None = Field(description="Null: of any.")
    score: Ratio = Field(description="Share of answers that are good enough, 0 to 1.")
    low: Ratio | None = Field(description="Lower end of the 95 % interval; null where the number of answers is not known.")
    high: Ratio | None
    samples: int | None = Field(description="How many answers were looked at.")
    source: str
    tenant: str | None = Field(description="Whose calls it is about; null: all.")
    at: At


class QualityScores(Output):
    """A page of scores."""

    scores: list[QualityScore]
    next_cursor: str | None


@operation(
    "quality.scores",
    "quality/scores",
    takes=QualityScoreQuery,
    output=QualityScores,
    permission="view",
    feature="routing",
    summary="List quality scores of models: imported ones, and shares of successes among outcomes in the ledger.",
)
def scores(context: Context, principal: Principal, given: QualityScoreQuery) -> Json:
    """What stands and may be seen: those about all calls are everybody's; outcomes are those of the principal's tenants."""
    found = [
        score
        for score in context.routing.scores(principal.tenants)
        if given.model in (None, score.model) and given.task in (None, score.task) and given.source in (None, score.source)
    ]
    numbered = list(enumerate(sorted(found, key=_order), 1))
    page, more = page_of(numbered, given, "quality.scores", lambda one: (one[0],))
    return {"scores": [shown_score(score) for _, score in page], "next_cursor": more}


def _order(score: Score) -> tuple[str, ...]:
    return score.model, score.task or "", score.provider or "", score.source, score.tenant


class QualitySources(Output):
    """A page of files that stand, oldest first."""

    sources: list[ScoresImport]
    next_cursor: str | None


@operation(
    "quality.sources",
    "quality/sources",
    takes=Paged,
    output=QualitySources,
    permission="view",
    feature="routing",
    summary="List the files of quality scores that stand.",
)
def sources(context: Context, principal: Principal, given: Paged) -> Json:
    """Those of the principal's tenants, and those about all calls."""
    page, more = page_of(context.routing.quality.imports(principal.tenants), given, "quality.sources", lambda one: (one.no,))
    return {"sources": [{**_import(one), "new": False} for one in page], "next_cursor": more}


def _import(one: Import) -> dict[str, Any]:
    shown = one._asdict()
    return {"at": format_ns(shown.pop("at_ns")), **shown, "tenant": shown_owner(one.tenant)}


def shown_score(score: Score) -> dict[str, Any]:
    """See `QualityScore`."""
    within = score.range
    return {
        "provider": score.provider,
        "model": score.model,
        "task": score.task,
        "score": ratio_text(score.value.numerator, score.value.denominator),
        "low": None if within is None else ratio_text(round(within[0] * 10**6), 10**6),
        "high": None if within is None else ratio_text(round(within[1] * 10**6), 10**6),
        "samples": score.samples,
        "source": score.source,
        "tenant": shown_owner(score.tenant),
        "at": format_ns(score.at_ns),
    }
