"""Which importers there are, and which one reads a document."""

from __future__ import annotations

from typing import Any, Final, TypeGuard

from otel_finops.base.errors import BadInput
from otel_finops.base.plugins import load_plugins
from otel_finops.pricing.sources import genai_prices, litellm, llm_prices, models_dev, openrouter
from otel_finops.pricing.sources.source import PriceSource

GROUP: Final = "otel_finops.price_sources"
BUILTIN: Final = (litellm.SOURCE, openrouter.SOURCE, models_dev.SOURCE, llm_prices.SOURCE, genai_prices.SOURCE)
"""In the order of precedence: where two lists price one model, the former's price is the book's."""


def load_sources() -> tuple[PriceSource, ...]:
    """All importers in the order of precedence: the packaged ones, then installed plug-ins by name.

    A plug-in with the name of a packaged importer takes its place.

    Raises:
        StartRefused: an entry point cannot be loaded or is no `PriceSource`; the message names every such one.
    """
    plugins = load_plugins(GROUP, _is_source, "price source", "no PriceSource: it needs name, unit, recognises and read")
    packaged = [plugins.pop(source.name, source) for source in BUILTIN]
    return (*packaged, *plugins.values())


def chosen(sources: tuple[PriceSource, ...], document: Any, name: str | None) -> PriceSource:
    """The importer of this name, or the first that recognises the document.

    Raises:
        BadInput: there is none.
    """
    known = ", ".join(source.name for source in sources)
    if name is not None:
        found = next((source for source in sources if source.name == name), None)
        if found is None:
            raise BadInput(f"source: there is no price source {name[:40]!r}; there are {known}")
        return found
    found = next((source for source in sources if source.recognises(document)), None)
    if found is None:
        raise BadInput(f"no price list that is known by its form; say which one it is by --source ({known})")
    return found


def _is_source(value: object) -> TypeGuard[PriceSource]:
    return isinstance(value, PriceSource)
