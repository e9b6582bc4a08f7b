"""T38, the static half: no SQL text is made of values; every part that reading the sources cannot prove to be ours has its reason here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from sql_texts import Piece, _of_module, pieces

PACKAGE = Path(__file__).parents[2] / "otel_finops"
PASSES_ON = ("store.sqlite", "store.postgres", "store.unit_of_work", "otlp.")
"""Drivers execute what they are given, which is looked at where it is written; receivers know no SQL, only texts that resemble it."""
REASONS = {
    "governance.decisions: groups": "SQL that the callers in this module write out",
    "governance.decisions: rule": "a column that the callers in this module write out",
    "insight.outcome_reads: table": "an alias that the callers in this module write out",
    "insight.waste_reads: sql": "one of two constants of this module",
    "ledger.distinct: keys": "composed by `grouped` of names of SPEND_KEYS, and columns that the caller writes out",
    "ledger.distinct: sums": "SQL that the caller writes out",
    "ledger.distinct: where": "composed by `standing_charges`; what is looked for is bound",
    "ledger.blocks: table": "names of tables that the callers write out",
    "ledger.brief_rows: amount": "SQL that the callers write out",
    "ledger.brief_rows: counts": "SQL that the callers write out",
    "ledger.brief_rows: columns": "names of columns that the callers write out",
    "ledger.brief_rows: conditions": "SQL that the callers write out",
    "ledger.extent: self._key": "names of columns that the makers of an extent write out",
    "ledger.extent: self._marks": "placeholders",
    "ledger.extent: self.table": "a name that the makers of an extent write out",
    "ledger.extent: self.within": "SQL that the makers of an extent write out",
    "ledger.extent: columns": "names that the makers of an extent write out",
    "ledger.extent: more": "composed in this class of the parts above",
    "ledger.extent: tail": "a limit, of numbers of this class",
    "ledger.quarantine: conditions": "composed by its callers in this module of constants",
    "ledger.reader: where": "composed by `usage_conditions` and the constants of `_told_apart`",
    "ledger.reader: names": "labels of metrics, an enumeration in the settings",
    "ledger.reader: first": "a number, formatted as one",
    "ledger.retention_classes: rows.at": "SQL in the table of classes of that module",
    "ledger.retention_classes: rows.but": "SQL in the table of classes of that module",
    "ledger.retention_classes: rows.key": "names in the table of classes of that module",
    "ledger.retention_classes: rows.table": "names in the table of classes of that module",
    "ledger.retention: self._further": "names of tables, given where the service is put together",
    "ledger.retention: sql": "one of two constants of this module",
    "ledger.rolled_usage: {**filters, **({} if tenants is None else {'tenant': tenants": "names of DIMENSIONS, which is asserted",
    "ledger.spend: question.group_by": "`Question.checked` takes names of SPEND_KEYS alone",
    "ledger.spend: question.filters": "`Question.checked` takes names of SPEND_KEYS alone; what is looked for is bound",
    "ledger.spend: level": "SQL that the callers in this module write out",
    "ledger.spend: prefix": "an alias that the callers write out",
    "ledger.spend_entries: PricedBy._fields": "names of columns that this module writes out",
    "ledger.unpriced: {'provider': query.provider, 'model': query.model, 'unpriced": "its keys; what is looked for is bound",
    "ledger.unpriced: column": "a name that the callers in this module write out",
    "ledger.unpriced: which": "MIN or MAX, written out by the caller",
    "store.sqlite: cache_kib": "a number",
    "trees.projected: table": "names that this module writes out",
    "trees.projected: columns": "names that this module writes out",
    "trees.projected: self.delete": "composed in `__init__` of the two above",
    "trees.ranking: model": "a name that the callers in this module write out",
    "trees.ranking: {_SUBJECTS[name]: list(refs) for name, refs in filters.items": "names of columns; what is looked for is bound",
    "trees.ranking: _SUBJECTS.get(name, name)": "`search_traces` takes names of TRACE_FILTERS alone",
    "trees.ranking: query.filters": "`search_traces` takes names of TRACE_FILTERS alone; what is looked for is bound",
    "trees.run_reads: query.filters": "`list_runs` takes names of RUN_FILTERS alone; what is looked for is bound",
    "trees.run_reads: column": "names that this module writes out, or of RUN_FILTERS",
    "trees.sessions: alias": "an alias that the callers in this module write out",
    "trees.sessions: chosen.sql('s')": "composed in `sql` of this module",
    "trees.sessions: chosen.sql('n')": "composed in `sql` of this module",
    "trees.sessions: self.tenants": "counted for placeholders, not written",
}
"""By module and part: why it can hold no value of anybody else's."""


def test_t38_sql_is_never_built_from_values() -> None:
    found = {f"{piece.module}: {piece.text}": piece for piece in pieces(PACKAGE) if not piece.module.startswith(PASSES_ON)}
    unexplained = [str(piece) for key, piece in found.items() if key not in REASONS]
    assert not unexplained, (
        "these parts of SQL texts may be values: bind them as parameters, write them out, or say in REASONS why they are ours:\n  "
        + "\n  ".join(unexplained)
    )


def test_no_reason_outlives_its_part() -> None:
    found = {f"{piece.module}: {piece.text}" for piece in pieces(PACKAGE)}
    assert not sorted(REASONS.keys() - found)


@pytest.mark.parametrize(
    ("source", "foreign"),
    [
        ('def f(t, a): t.execute("SELECT 1 FROM x WHERE a = ?", (a,))', []),
        ('def f(t, a): t.execute(f"SELECT 1 FROM x WHERE a = {a}")', ["a"]),
        ('def f(t, a): t.execute("SELECT 1 FROM x WHERE a = " + a)', ["a"]),
        ('def f(t, a): t.execute("SELECT 1 FROM x WHERE a = %s" % a)', ["a"]),
        ('def f(t, a): t.execute("SELECT 1 FROM x WHERE a = {}".format(a))', ["a"]),
        ('def f(t, a): t.execute(f"SELECT 1 FROM x WHERE a IN ({marks})"); marks = ", ".join("?" * len(a))', []),
        (
            'def f(t, a): t.execute(f"SELECT 1 FROM x WHERE {where}"); where = " AND ".join(p); p = ["a = ?"]; p.append(a)',
            ["a"],
        ),
        ('def f(t, a): t.execute(f"SELECT 1 FROM {TABLES[a]}")', []),
        ("def f(t, a): t.execute(a)", ["a"]),
        ('def f(a): return f"name = ? AND kind = {a.kind}"', ["a.kind"]),
        ('SQL = f"SELECT {COLUMNS} FROM x"', []),
    ],
)
def test_the_reader_of_sources_tells_values_from_our_own_words(source: str, foreign: list[str]) -> None:
    assert [piece.text for piece in dict.fromkeys(_of_module("m", ast.parse(source)))] == foreign
    assert all(isinstance(piece, Piece) for piece in _of_module("m", ast.parse(source)))
