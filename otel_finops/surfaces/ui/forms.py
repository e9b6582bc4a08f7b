"""A form out of an operation's input model: its fields, what was typed into them, and the faults beside them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import orjson
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from otel_finops.operations.faults import faults_of
from otel_finops.operations.fields import SECRET
from otel_finops.operations.registry import Input, Operation
from otel_finops.surfaces.web.texts import kinds_of, value_of

FieldKind: TypeAlias = Literal["text", "number", "check", "choice", "long", "file", "secret"]
_LONG: Final = frozenset({"description", "condition", "document", "note"})
_FILES: Final = frozenset({"content"})
_MARKED: Final = "Nothing was stored: mend what is marked."


class Posted(NamedTuple):
    """What a form sent: texts by field, and the contents and names of files."""

    texts: Mapping[str, str]
    files: Mapping[str, bytes]
    names: Mapping[str, str] = MappingProxyType({})


class Field(NamedTuple):
    """A field of a form.

    Attributes:
        name: of the parameter, as the API has it.
        label: in words.
        help: what it means.
        kind: how it is typed in.
        required: whether it must be given.
        choices: the words that it takes, where they are few.
        value: what stands in it.
        fault: what is wrong with that; empty for nothing.
    """

    name: str
    label: str
    help: str
    kind: FieldKind
    required: bool = False
    choices: tuple[str, ...] = ()
    value: str = ""
    fault: str = ""


class Filled(NamedTuple):
    """A form with what stands in it.

    Attributes:
        fields: by the parameter's name.
        given: the operation's input; None where the fields have faults.
        fault: what no single field is to blame for; empty for nothing.
    """

    fields: Mapping[str, Field]
    given: Input | None = None
    fault: str = ""

    def requiring(self, name: str) -> Filled:
        """The form with a field that must be given, though the operation alone cannot know that."""
        return self._replace(fields={**self.fields, name: self.fields[name]._replace(required=True)})

    def refused(self, fault: str) -> Filled:
        """The form whose input the operation did not take; what is said of a field (`amount: ...`) stands beside it."""
        name, said = _of_field(fault)
        if name not in self.fields:
            return self._replace(given=None, fault=fault)
        return self._replace(fields={**self.fields, name: self.fields[name]._replace(fault=said)}, given=None, fault=_MARKED)


def _of_field(fault: str) -> tuple[str, str]:
    """The field that a fault is about and what it says; `condition, position 4: ...` keeps the position."""
    place, _, said = fault.partition(": ")
    name, _, deeper = place.replace(", ", ".", 1).partition(".")
    return name, f"{deeper}: {said}" if deeper else said


def empty_form(one: Operation, values: Mapping[str, Any] | None = None, *, without: Collection[str] = ()) -> Filled:
    """The form of an operation with values put in.

    Args:
        values: by parameter, e.g. what is stored now; lists are joined by commas, objects as `key=value` pairs.
        without: parameters that the form has no field for.
    """
    said = {name: _shown(value) for name, value in (values or {}).items() if value is not None}
    return Filled(
        {field.name: field._replace(value=said.get(field.name, field.value)) for field in _fields(one) if field.name not in without}
    )


def input_of_form(one: Operation, posted: Posted, fixed: Mapping[str, Any]) -> Filled:
    """What a form sent as the operation's input; an empty field is one that is not given, and files go in base64.

    Args:
        fixed: values that the page gives instead of the form.
    """
    kinds = kinds_of(one.input)
    form = Filled({field.name: field._replace(value=_typed(posted, field)) for field in _fields(one)})
    called = {"from": posted.names["content"]} if posted.names.get("content") and "from" in kinds else {}
    files = {name: b64encode(content).decode() for name, content in posted.files.items() if content and name in kinds}
    texts = {name: value_of(text.strip(), kinds[name]) for name, text in posted.texts.items() if text.strip() and name in kinds}
    try:
        return form._replace(given=one.input.model_validate_json(orjson.dumps({**called, **texts, **files, **fixed}), strict=True))
    except ValidationError as error:
        return _with_faults(form, error)


def _with_faults(form: Filled, error: ValidationError) -> Filled:
    fields, others = dict(form.fields), list[str]()
    for place, said in faults_of(error):
        name, _, deeper = place.partition(".")
        if name in fields:
            fields[name] = fields[name]._replace(fault=f"{deeper}: {said}" if deeper else said)
        else:
            others.append(f"{place}: {said}" if place else said)
    return Filled(fields, None, "; ".join(others) or _MARKED)


def _typed(posted: Posted, field: Field) -> str:
    """What the fields show again; secrets are typed anew."""
    return "" if field.kind in ("secret", "file") else posted.texts.get(field.name, "")


def _fields(one: Operation) -> Iterable[Field]:
    for name, info in one.input.model_fields.items():
        said = info.alias or name
        if said in one.path_fields or said in ("dry_run", "revision"):
            continue
        choices = _choices(info)
        default = None if info.is_required() else info.get_default(call_default_factory=True, validated_data={})
        yield Field(said, label_of(said), info.description or "", _kind(said, info, choices), info.is_required(), choices, _shown(default))


def _kind(name: str, info: FieldInfo, choices: tuple[str, ...]) -> FieldKind:
    if info.annotation is bool or info.annotation == bool | None:
        return "check"
    if choices:
        return "choice"
    extra = info.json_schema_extra
    if isinstance(extra, dict) and extra.items() >= SECRET.items():
        return "secret"
    return "long" if name in _LONG else "file" if name in _FILES else "text"


def _choices(info: FieldInfo) -> tuple[str, ...]:
    """The words of a `Literal`, also of one that may be left away."""
    kinds = [info.annotation, *get_args(info.annotation)]
    return next((get_args(kind) for kind in kinds if get_args(kind) and all(isinstance(word, str) for word in get_args(kind))), ())


def label_of(name: str) -> str:
    """A parameter's name in words."""
    words = name.replace("_", " ").replace("usd", "USD").replace("url", "URL").replace("sha256", "SHA-256")
    return words[:1].upper() + words[1:]


def _shown(value: Any) -> str:
    if value is None or value in ((), [], {}):
        return ""
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={text}" for name, text in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(str, value))
    return str(value)
