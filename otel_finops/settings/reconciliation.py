"""The section `reconciliation`: whose bills are fetched by the clock, and how far back the ledger is held against them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, field_validator

from otel_finops.base.limits import NAME_CHARS_MAX
from otel_finops.settings.outside import checked_place
from otel_finops.settings.section import SECRET, Section

API_URLS = {"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com", "openrouter": "https://openrouter.ai"}
"""Where the providers' own billing APIs are."""


def _url(text: str) -> str:
    checked = checked_place(text, "billing API", "the key is", "reconciliation.sources[].key")
    if text and "://" not in text:
        raise ValueError("not a billing API; write https://HOST")
    return checked.rstrip("/")


def _printable(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("a key has printable ASCII characters alone")
    return text


BillName: TypeAlias = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)]


class BillSource(Section):
    """A provider's billing API that is asked by the clock.

    Attributes:
        provider: whose API it is.
        key: an admin key of the organization (of OpenRouter a provisioning key); never shown.
        name: of the bill; the provider's when not given.
        tenant: whose calls it is for; "" for all tenants'.
        url: where the API is; the provider's own when not given.
        days: how many days back it is asked for each time: what a provider corrects later is found so far back.
    """

    provider: Literal["openai", "anthropic", "openrouter"]
    key: Annotated[str, Field(min_length=1, max_length=1_024), AfterValidator(_printable)] = Field(repr=False, json_schema_extra=SECRET)
    name: str = Field(default="", max_length=NAME_CHARS_MAX)
    tenant: str = Field(default="", max_length=NAME_CHARS_MAX)
    url: Annotated[str, AfterValidator(_url)] = Field(default="")
    days: int = Field(default=7, ge=1, le=90)

    @property
    def called(self) -> str:
        """The bill's name."""
        return self.name or self.provider

    @property
    def place(self) -> str:
        """Where the API is, without a final slash."""
        return self.url or API_URLS[self.provider]


class Reconciliation(Section):
    """Holding the ledger against providers' bills (docs/insight.md)."""

    sources: tuple[BillSource, ...] = Field(
        default=(),
        max_length=100,
        repr=False,
        json_schema_extra=SECRET,
        description="Billing APIs that are asked by the clock: "
        '`[{"provider": "openai", "key": "sk-admin-...", "name": "openai", "tenant": "", "url": "", "days": 7}]`; providers are openai, '
        "anthropic and openrouter; empty: none, and nothing is fetched.",
    )
    timeout: float = Field(default=60.0, ge=1, le=300, description="Seconds that one page of such an API may take.")
    days: int = Field(
        default=35,
        ge=1,
        le=400,
        description="Days back that each bill is compared with the ledger by the clock, from the first of that month on.",
    )

    @field_validator("sources")
    @classmethod
    def _each_name_once(cls, sources: tuple[BillSource, ...]) -> tuple[BillSource, ...]:
        names = [(one.tenant, one.called) for one in sources]
        if len(set(names)) != len(names):
            raise ValueError("two sources make a bill of the same name; give one of them another `name`")
        return sources
