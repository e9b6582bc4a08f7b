"""Every setting as data, and the page `docs/settings.md` made from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, get_origin

from pydantic.fields import FieldInfo

from otel_finops.settings.tree import SECTIONS

PREFIX: Final = "OTEL_FINOPS_"
CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"
"""Path of the settings file, for those who cannot give `--config`."""

_KINDS: Final[dict[Any, str]] = {
    bool: "switch", int: "whole number", float: "number", tuple: "JSON list", dict: "JSON object",
}  # fmt: skip


class SettingInfo(NamedTuple):
    """One setting.

    Attributes:
        name: `section.name`, as the file nests it.
        env: its environment variable.
        type: what a value looks like, e.g. `number` or `JSON list`.
        default: the default as the environment would say it; "" for none.
        meaning: what it does, units and range included.
        secret: its value is never shown.
    """

    name: str
    env: str
    type: str
    default: str
    meaning: str
    secret: bool


def env_name(section: str, name: str) -> str:
    """The environment variable of a setting: `ledger`, `settle_after` -> `OTEL_FINOPS_LEDGER__SETTLE_AFTER`."""
    return f"{PREFIX}{section}__{name}".upper()


def is_secret(field: FieldInfo) -> bool:
    """Whether the value must not be shown."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def kind_of(field: FieldInfo) -> str:
    """What a value looks like: text, switch, number, whole number, JSON list or JSON object."""
    annotation: Any = field.annotation
    return _KINDS.get(get_origin(annotation) or annotation, "text")


def describe() -> Iterator[SettingInfo]:
    """Every setting in the order of declaration."""
    for section, model in SECTIONS.items():
        for name, field in model.model_fields.items():
            yield SettingInfo(
                f"{section}.{name}", env_name(section, name), kind_of(field), _default(field), field.description or "", is_secret(field)
            )


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None or value == "":
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def markdown() -> str:
    """The page `docs/settings.md`."""
    rows = [f"| `{one.name}` | `{one.env}` | {one.type} | {_cell(one.default)} | {one.meaning} |" for one in describe()]
    return "\n".join([_HEAD, *rows, ""])


def _cell(default: str) -> str:
    return f"`{default}`" if default else ""


_HEAD: Final = f"""# Settings

<!-- Written by `python -m otel_finops.surfaces.reference docs` from the declarations in otel_finops/settings; do not edit. -->

`otel-finops serve` needs none of these. They come from one YAML file (`--config FILE`, or `{CONFIG_VARIABLE}=FILE`) and from
environment variables, which win over the file. In the file a setting is nested under its section:

```yaml
ledger:
  settle_after: 5
auth:
  mode: token
  senders:
    - token_sha256: "<printf %s TOKEN | sha256sum>"
      tenants: [acme]
```

In the environment lists and objects are written as JSON, switches as `true` or `false`. An unknown name, a wrong type or a file
that cannot be read refuses the start, with all faults in one message. Variables that begin with `{PREFIX}` but are no settings
(orchestrators set `{PREFIX}SERVICE_HOST` and the like) are left alone unless they look like a misspelt setting.

| setting | environment variable | type | default | meaning |
|---|---|---|---|---|"""
