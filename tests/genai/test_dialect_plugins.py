"""A dialect from another distribution, as docs/dialects.md shows it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from span_making import chat, span

from otel_finops.base import plugins
from otel_finops.base.errors import StartRefused
from otel_finops.base.protocols import Credential
from otel_finops.genai import dialect_loading
from otel_finops.genai.dialect import ALL_PROVIDERS, Dialect, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.normalise import Normaliser

ACME = TableDialect(
    name="acme",
    table=KeyTable(
        texts={"operation": ("acme.kind",), "request_model": ("acme.model",)},
        providers=("acme.vendor",),
        counts=({"input": ("acme.tokens.in",), "output": ("acme.tokens.out",), "cache_read": ("acme.tokens.cached",)},),
        costs=("acme.usd",),
    ),
    recognises=lambda keys, scope: "acme.model" in keys,
    attribution={"agent": ("acme.worker",)},
    scopes={"acme-llm": ScopeTraits(exclusive=ALL_PROVIDERS)},
)
HERE = "test_dialect_plugins"


def declare(monkeypatch: pytest.MonkeyPatch, points: Iterable[EntryPoint]) -> None:
    found = list(points)
    monkeypatch.setattr(plugins, "entry_points", lambda group: found if group == "otel_finops.dialects" else [])


def test_a_plug_in_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, [EntryPoint("acme", f"{HERE}:ACME", "otel_finops.dialects")])
    normalise = Normaliser(dialect_loading.load_dialects())
    attributes = {"acme.kind": "chat", "acme.model": "gpt-4o", "acme.vendor": "OpenAI", "acme.tokens.in": 900, "acme.tokens.out": 7,
                  "acme.tokens.cached": 100, "acme.usd": 0.25, "acme.worker": "clerk"}  # fmt: skip
    assert attributes.keys() <= normalise.wanted.exact
    seen = normalise(span(attributes, scope="acme-llm"), Credential())
    assert (seen.dialect, seen.usage_rule, seen.kind, seen.provider) == ("acme", "acme.exclusive", "call", "openai")
    assert seen.usage == {"input_uncached": 900, "cache_read": 100, "output": 7}
    assert (seen.reported_pico, seen.attribution) == (250_000_000_000, {"agent": "clerk"})


def test_other_spans_are_read_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, [EntryPoint("acme", f"{HERE}:ACME", "otel_finops.dialects")])
    normalise = Normaliser(dialect_loading.load_dialects())
    assert normalise(span(chat(usage__input_tokens=5)), Credential()).dialect == "semconv"


def test_a_plug_in_may_replace_a_packaged_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, [EntryPoint("x", f"{HERE}:OWN_SEMCONV", "otel_finops.dialects")])
    loaded = dialect_loading.load_dialects()
    assert [dialect for dialect in loaded if dialect.name == "semconv"] == [OWN_SEMCONV]


OWN_SEMCONV = TableDialect(name="semconv", table=KeyTable(), recognises=lambda keys, scope: False)
NO_DIALECT = object()


def test_plug_ins_that_fail_refuse_the_start_and_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "no_such_module:X", "otel_finops.dialects")
    wrong = EntryPoint("wrong", f"{HERE}:NO_DIALECT", "otel_finops.dialects")
    declare(monkeypatch, [broken, wrong])
    with pytest.raises(StartRefused, match=r"'broken'.*ModuleNotFoundError.*'wrong'.*is no Dialect"):
        dialect_loading.load_dialects()


def test_a_table_is_a_dialect() -> None:
    assert isinstance(ACME, Dialect)


def test_the_example_in_the_documentation_is_a_whole_distribution() -> None:
    """The text is executed as it stands: its table is a dialect, its project declares it where plug-ins are looked for."""
    text = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [project] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    declared = tomllib.loads(project)
    module, _, name = declared["project"]["entry-points"]["otel_finops.dialects"]["acme"].partition(":")
    assert declared["tool"]["setuptools"]["py-modules"] == [module]
    written: dict[str, object] = {}
    exec(code, written)
    assert isinstance(written[name], Dialect)
