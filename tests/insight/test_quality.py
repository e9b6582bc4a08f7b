"""Quality scores: files, their faults, what stands, and which score speaks of a model."""

from __future__ import annotations

from fractions import Fraction

import pytest

from otel_finops.base.errors import BadInput
from otel_finops.insight.quality import ModelOutcomes, Score, Wanted, from_outcomes, read_scores, score_of
from otel_finops.insight.quality_store import QualityStore
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

JSON = (
    b'{"scores": [{"model": "gpt-4o", "score": 0.87, "samples": 200}, {"provider": "claude", "model": "big", "task": "sql", "score": "1"}]}'
)
ANY = Wanted()
CSV = b"\xef\xbb\xbfmodel,provider,score,task\r\ngpt-4o,,0.87,\r\nbig,anthropic,1,sql\r\n"


def test_json_and_csv_say_the_same() -> None:
    by_json, by_csv = read_scores(JSON, "scores.json"), read_scores(CSV, "scores.csv")
    assert by_json == [
        Score(None, "gpt-4o", None, Fraction(87, 100), 200), Score("anthropic", "big", "sql", Fraction(1), None),
    ]  # fmt: skip
    assert [one._replace(samples=None) for one in by_json] == by_csv


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"scores": 7}', "write a list of scores, or an object with one as `scores`"),
        (b"[1", "begins like JSON and is none"),
        (b'[{"model": "a", "score": 87}]', "row 1: score: write a share from 0 to 1, e.g. 0.87 for 87 %"),
        (b'[{"model": "a", "score": "1e-999999999"}]', "row 1: score: write a share"),  # exact, it would be a billion digits
        (b'[{"model": "a", "score": true}]', "row 1: score: write a share"),
        (b'[{"model": "a", "score": "NaN"}]', "row 1: score: write a share"),
        (b'[{"model": "a", "score": 0.5}, {"model": "A", "score": 0.6}]', "row 2: A has a score for that task already"),
        (b'[{"score": 1}]', "row 1: model: is missing"),
        (b'[{"model": "a", "score": 1, "samples": 0}]', "row 1: samples: write how many answers were looked at"),
        (
            b'[{"model": "a", "score": 1, "rank": 2}]',
            "row 1: 'rank' is no field of a score; there are model, provider, ",
        ),
        (b"[[]]", "row 1: no object with `model` and `score`"),
        (b"name,value\na,1\n", "the first line must name the columns, `model` and `score` among them"),
        (b"model,score\n\xff,1\n", "no UTF-8 text"),
        (b'model,score\n"a,1\n', "no CSV"),
        (b"model,score\na,1,2\n", "is no field of a score"),
    ],
)
def test_a_file_that_is_none_says_where_and_why(content: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=r"^scores: ") as fault:
        read_scores(content, "scores")
    assert said in str(fault.value)


def test_the_score_of_the_task_the_tenant_and_the_provider_comes_first() -> None:
    scores = [
        Score(None, "m", None, Fraction(1, 10), source="a", at_ns=9),
        Score(None, "m", None, Fraction(2, 10), source="b", tenant="acme", at_ns=1),
        Score("openai", "m", None, Fraction(3, 10), source="c", tenant="acme", at_ns=1),
        Score(None, "m", "sql", Fraction(4, 10), 5, source="d", at_ns=1),
        Score("azure", "m", "sql", Fraction(9, 10), source="e", at_ns=2),
    ]

    def found(wanted: Wanted = ANY, own: str = "acme", provider: str | None = "openai") -> Fraction | None:
        score = score_of(scores, provider, "M", wanted, own)
        return score and score.value

    assert found() == Fraction(3, 10), "of the very provider before any"
    assert found(provider="anthropic") == Fraction(2, 10), "the tenant's own before all's"
    assert found(own="*") == found(own="globex") == Fraction(1, 10), "what is about one tenant's calls says nothing of others'"
    assert found(Wanted("sql")) == Fraction(4, 10), "of the very task"
    assert found(Wanted("sql", min_samples=6)) == Fraction(3, 10), "five answers are too few"
    assert found(Wanted(source="a")) == Fraction(1, 10)
    assert score_of(scores, "openai", "other", Wanted()) is None


def test_a_name_stands_for_its_dated_ones_and_no_dated_one_for_another() -> None:
    scores = [Score("openai", "gpt-4o-2024-08-06", None, Fraction(1, 2)), Score(None, "claude-sonnet-4-5", None, Fraction(3, 4))]

    def found(provider: str | None, model: str) -> Fraction | None:
        score = score_of(scores, provider, model, ANY)
        return score and score.value

    assert found("openai", "gpt-4o") == found("openai", "gpt-4o-2024-08-06") == found(None, "gpt-4o") == Fraction(1, 2)
    assert found("openai", "gpt-4o-2024-05-13") is None
    assert found("anthropic", "claude-sonnet-4-5-20250929") == Fraction(3, 4)
    scores.append(Score("openai", "gpt-4o", None, Fraction(1, 4)))
    assert found("openai", "gpt-4o") == Fraction(1, 4), "by the very name before any other"


def test_outcomes_are_shares_of_successes() -> None:
    [score] = from_outcomes([ModelOutcomes("openai", "m", 3, 1, at_ns=7), ModelOutcomes("openai", "never", 0, 0)])
    assert (score.value, score.samples, score.source, score.at_ns) == (Fraction(3, 4), 4, "outcomes", 7)


def test_the_newest_file_of_a_source_stands_and_tenants_see_their_own_and_all_s(store: Store) -> None:
    clock = FakeClock()
    quality = QualityStore(store, clock)
    first, is_new = quality.add("*", "evals", JSON, "scores.json", who="ann")
    assert (first.scores, is_new, quality.add("*", "evals", JSON, "other.json", who="bob")) == (2, True, (first, False))
    quality.add("acme", "evals", b'[{"model": "gpt-4o", "score": 0.123456789}]', "own.json", who="ann")
    assert [str(one.value) for one in quality.scores(("globex",))] == ["87/100", "1"]
    assert [one.value for one in quality.scores(("acme",))][2] == Fraction("0.123456789")
    assert quality.add("*", "evals", b"[]", "none.json", who="ann", dry_run=True)[0].scores == 0
    assert len(quality.scores(None)) == 3, "a dry run leaves what stands"
    quality.add("*", "evals", b"[]", "none.json", who="ann")
    assert [one.tenant for one in quality.scores(None)] == ["acme"]
    assert [(one.tenant, one.source, one.scores) for one in quality.imports(None)] == [("acme", "evals", 1), ("*", "evals", 0)]
    with pytest.raises(BadInput, match="source: outcomes is what"):
        quality.add("*", "outcomes", JSON, "scores.json", who="ann")
