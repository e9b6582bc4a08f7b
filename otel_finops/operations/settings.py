"""The settings that hold, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, JsonValue

from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.settings.reference import env_name, is_secret, kind_of
from otel_finops.settings.tree import SECTIONS, Settings


class SettingsQuery(Input):
    """Which settings."""

    section: Name | None = Field(default=None, description="Only this section, e.g. ledger.")
    changed: bool = Field(default=False, description="Only those that are not left at their default.")


class Setting(Output):
    """One setting."""

    section: str
    name: str
    value: JsonValue = Field(description="Null for none, and for what is secret.")
    default: JsonValue
    source: Literal["default", "file", "environment"] = Field(description="`environment`: a variable, or `--database`.")
    secret: bool = Field(description="Its value is never shown.")
    is_set: bool = Field(description="It has a value other than none; of a secret all that is told.")
    env: str = Field(description="Its environment variable.")
    type: str
    meaning: str


class AllSettings(Output):
    """The settings of the process that answers, in the order of docs/settings.md."""

    settings: list[Setting]


@operation(
    "settings.show",
    "settings",
    takes=SettingsQuery,
    output=AllSettings,
    permission="manage",
    feature="settings",
    agents=False,
    summary="Show every setting with its value, its default and where it comes from; secrets are never shown.",
)
def show(context: Context, principal: Principal, given: SettingsQuery) -> Json:
    """Those of the running service, or of this command where it works on a database of its own."""
    principal.must_see_all("settings.show tells of the whole service")
    found = (one for one in _all(context.settings) if given.section in (None, one["section"]))
    return {"settings": [one for one in found if not given.changed or one["source"] != "default"]}


def _all(settings: Settings) -> Iterator[dict[str, Any]]:
    for section, model in SECTIONS.items():
        held, unset = (one.model_dump(mode="json", by_alias=True) for one in (getattr(settings, section), model()))
        for name, field in model.model_fields.items():
            secret, value = is_secret(field), held[name]
            yield {
                "section": section,
                "name": name,
                "value": None if secret else _shown(value),
                "default": None if secret else unset[name],
                "source": settings.origin_of(section, name),
                "secret": secret,
                "is_set": value not in (None, "", [], {}),
                "env": env_name(section, name),
                "type": kind_of(field),
                "meaning": field.description or "",
            }


def _shown(value: Any) -> Any:
    """A value without what URLs may hide: names, passwords and queries."""
    if not isinstance(value, str) or "://" not in value:
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
