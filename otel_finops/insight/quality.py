"""How good models are at a task: scores from files and from outcomes in the ledger, and which of them says it of a candidate.

A score is the share of answers that are good enough, 0 to 1: then cost divided by it is what a good answer costs in the end, failed
attempts included. Nothing is guessed: a model that nobody scored is of unknown quality.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import sqrt
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.base.errors import BadInput, TooLarge
from otel_finops.base.limits import NAME_CHARS_MAX, QUALITY_FILE_BYTES_MAX, QUALITY_SCORES_MAX
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.pricing.match import names_asked
from otel_finops.pricing.names import clean
from otel_finops.pricing.providers import canonical, families_of

OUTCOMES: Final = "outcomes"
"""The source of scores that the ledger's own outcomes are."""
_FIELDS: Final = frozenset({"provider", "model", "task", "score", "samples"})
_SAMPLES_MAX: Final = 10**12
_SCORE_DIGITS_MAX: Final = 20
_Z: Final = 1.959963984540054
"""Of a normal distribution 95 % lies within so many standard deviations."""


class Score(NamedTuple):
    """A score.

    Attributes:
        provider: family; None: whoever serves the model.
        model: as calls name it.
        task: of what kind the answers were; None: of any.
        value: 0 to 1.
        samples: how many answers were looked at; None where nobody says.
        source: who says it.
        tenant: whose calls it is about; `*`: all.
        at_ns: when it was said.
    """

    provider: str | None
    model: str
    task: str | None
    value: Fraction
    samples: int | None = None
    source: str = ""
    tenant: str = ANY_TENANT
    at_ns: int = 0

    @property
    def range(self) -> tuple[float, float] | None:
        """Within which the true share lies with a confidence of 95 % (Wilson's interval); None where the number of answers is not known."""
        return None if not self.samples else wilson(float(self.value), self.samples)


class Wanted(NamedTuple):
    """Which scores count.

    Attributes:
        task: of this kind of answers, else of any; None: of any alone.
        source: of this source alone; None: whichever.
        min_samples: scores of fewer answers are as good as none; those that do not say of how many count.
    """

    task: str | None = None
    source: str | None = None
    min_samples: int = 0


def wilson(share: float, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share that was seen in so many samples (Wilson 1927)."""
    z2 = _Z * _Z / samples
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z * sqrt(share * (1 - share) / samples + z2 / (4 * samples)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def score_of(scores: Iterable[Score], provider: str | None, model: str, wanted: Wanted, own: str = ANY_TENANT) -> Score | None:
    """The score that counts for a model: of the very task before any, of the tenant's own calls before all, by the very name before one
    without its date, of the very provider before any, then the newest; None for unknown quality.

    Args:
        scores: those that may be seen.
        provider: any spelling; None: whoever serves it.
        own: whose calls it is about: scores of other tenants' calls say nothing of them.
    """
    fits = [
        (score.task is not None, score.tenant == own, closeness, score.provider is not None, score.at_ns, place, score)
        for place, score in enumerate(scores)
        if score.tenant in (ANY_TENANT, own) and (closeness := _closeness(score, provider, model)) and _counts(score, wanted)
    ]
    return max(fits)[-1] if fits else None


def _counts(score: Score, wanted: Wanted) -> bool:
    if score.task not in (None, wanted.task) or wanted.source not in (None, score.source):
        return False
    return score.samples is None or score.samples >= wanted.min_samples


def _closeness(score: Score, provider: str | None, model: str) -> int:
    """2: it is about the model by this very name; 1: by one with a date or alias taken off, as prices are found; 0: it is about another."""
    if score.provider is not None and provider is not None and set(families_of(score.provider)).isdisjoint(families_of(provider)):
        return 0
    mine, its = clean(model), clean(score.model)
    if mine == its:
        return 2
    return int(its in names_asked(provider, model) or mine in names_asked(score.provider, score.model))


# --- files -------------------------------------------------------------------------------------------------------------


def read_scores(content: bytes, name: str) -> list[Score]:
    """The scores of a file: a JSON list of objects, an object with such a list as `scores`, or CSV with a head.

    Fields are `model` and `score` (0 to 1), and where they are known `provider`, `task` and `samples`.

    Raises:
        TooLarge: more than `limits.QUALITY_FILE_BYTES_MAX`.
        BadInput: what is no such file, with the row and the field.
    """
    if len(content) > QUALITY_FILE_BYTES_MAX:
        raise TooLarge(f"{name}: more than {QUALITY_FILE_BYTES_MAX} bytes")
    rows = _json_rows(content, name) if content.lstrip()[:1] in (b"[", b"{") else _csv_rows(content, name)
    if len(rows) > QUALITY_SCORES_MAX:
        raise BadInput(f"{name}: more than {QUALITY_SCORES_MAX} scores")
    return _distinct(rows, name)


def _distinct(rows: Sequence[Any], name: str) -> list[Score]:
    found: dict[tuple[str | None, str, str | None], Score] = {}
    for place, row in enumerate(rows, 1):
        score = _score(row, f"{name}: row {place}")
        key = (score.provider, clean(score.model), score.task)
        if key in found:
            raise BadInput(f"{name}: row {place}: {score.model} has a score for that task already")
        found[key] = score
    return list(found.values())


def _json_rows(content: bytes, name: str) -> list[Any]:
    try:
        said = orjson.loads(content)
    except ValueError:
        raise BadInput(f"{name}: begins like JSON and is none") from None
    rows = said.get("scores") if isinstance(said, dict) else said
    if not isinstance(rows, list):
        raise BadInput(f"{name}: write a list of scores, or an object with one as `scores`")
    return rows


def _csv_rows(content: bytes, name: str) -> list[Any]:
    try:
        text = content.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        head = {field.strip() for field in reader.fieldnames or ()}
        if not {"model", "score"} <= head:
            raise BadInput(f"{name}: the first line must name the columns, `model` and `score` among them")
        return [{(key or "").strip(): value for key, value in row.items() if value not in ("", None)} for row in reader]
    except UnicodeDecodeError:
        raise BadInput(f"{name}: no UTF-8 text") from None
    except csv.Error as fault:
        raise BadInput(f"{name}: no CSV: {fault}") from None


def _score(row: Any, place: str) -> Score:
    if not isinstance(row, Mapping):
        raise BadInput(f"{place}: no object with `model` and `score`")
    if unknown := sorted(str(field)[:40] for field in row.keys() - _FIELDS):
        raise BadInput(f"{place}: {unknown[0]!r} is no field of a score; there are {', '.join(sorted(_FIELDS))}")
    texts = {field: _text(row.get(field), f"{place}: {field}") for field in ("provider", "model", "task")}
    if texts["model"] is None:
        raise BadInput(f"{place}: model: is missing")
    provider = texts["provider"]
    return Score(
        None if provider is None else canonical(provider), texts["model"], texts["task"], _share(row.get("score"), f"{place}: score"),
        _samples(row.get("samples"), f"{place}: samples"),
    )  # fmt: skip


def _text(value: Any, place: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value or len(value) > NAME_CHARS_MAX:
        raise BadInput(f"{place}: not a text of at most {NAME_CHARS_MAX} characters")
    return value.strip() or None


def _share(value: Any, place: str) -> Fraction:
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    try:
        share = Decimal(text) if len(text) <= _SCORE_DIGITS_MAX + 4 else None
    except InvalidOperation:
        share = None
    if share is None or not share.is_finite() or not 0 <= share <= 1 or -share.as_tuple().exponent > _SCORE_DIGITS_MAX:  # type: ignore[operator]
        raise BadInput(f"{place}: write a share from 0 to 1, e.g. 0.87 for 87 %")
    return Fraction(share)


def _samples(value: Any, place: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(_SAMPLES_MAX)):
        value = int(value)
    if type(value) is not int or not 1 <= value <= _SAMPLES_MAX:
        raise BadInput(f"{place}: write how many answers were looked at, a whole number from 1")
    return value


# --- outcomes ----------------------------------------------------------------------------------------------------------


class ModelOutcomes(NamedTuple):
    """How the work of a model's calls came out; `task` is the kind of outcome, None: of all kinds, `at_ns` when the last one came out."""

    provider: str | None
    model: str
    successes: int
    failures: int
    task: str | None = None
    at_ns: int = 0


def from_outcomes(counts: Iterable[ModelOutcomes], tenant: str = ANY_TENANT) -> Iterator[Score]:
    """The share of successes as a score, for models with any outcome."""
    for one in counts:
        samples = one.successes + one.failures
        if samples:
            yield Score(one.provider, one.model, one.task, Fraction(one.successes, samples), samples, OUTCOMES, tenant, one.at_ns)
