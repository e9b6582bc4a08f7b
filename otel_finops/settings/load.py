"""Reads the file and the environment, and either returns settings or refuses the start with every fault found."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from otel_finops.base.errors import StartRefused
from otel_finops.settings.addresses import Address
from otel_finops.settings.reference import CONFIG_VARIABLE, PREFIX, env_name, is_secret, kind_of
from otel_finops.settings.tree import SECTIONS, Forward, Origin, Settings, Telemetry

_FILE_BYTES_MAX: Final = 1024 * 1024
"""A settings file is a page or two; more is the wrong file."""
_SHOWN_CHARS_MAX: Final = 60
_SWITCH_WORDS: Final = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NO_SETTINGS: Final = frozenset({CONFIG_VARIABLE, f"{PREFIX}SHARED"})


class _Fault(NamedTuple):
    """What is wrong, where it stands and how to mend it."""

    where: str
    what: str


class _Given(NamedTuple):
    """A value with the place it came from."""

    value: Any
    where: str


def load(path: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from a YAML file (None: only the environment) and from environment variables, which win.

    Args:
        path: the file of `--config`; without it OTEL_FINOPS_CONFIG is asked.
        environ: None for the process's own environment.

    Raises:
        StartRefused: unknown names, wrong types or values, a file that cannot be read or is no plain YAML, listeners that
            clash, or listening beyond loopback without authentication; the message lists all faults.
    """
    environ = os.environ if environ is None else environ
    faults: list[_Fault] = []
    source = path or environ.get(CONFIG_VARIABLE) or None
    given: dict[tuple[str, str], _Given] = {}
    if source is not None:
        given.update(_from_file(Path(source), faults))
    origins: dict[tuple[str, str], Origin] = dict.fromkeys(given, "file")
    said = dict(_from_environment(environ, faults))
    given.update(said)
    origins.update(dict.fromkeys(said, "environment"))
    sections = _validated(given, faults)
    faults += _contradictions(sections, given)
    if faults:
        lines = "\n".join(f"  - {fault.where}: {fault.what}" for fault in faults)
        raise StartRefused(
            f"The settings have {len(faults)} fault{'s' if len(faults) > 1 else ''}:\n{lines}\nAll settings: docs/settings.md"
        )
    return Settings.model_validate(sections).came_from(origins)


# --- the file ------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Safe YAML that also refuses a key given twice, which plain YAML readers take silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, each key once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for index, key in enumerate(keys) if key in keys[:index]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {_shown(twice[0])} stands here twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _from_file(path: Path, faults: list[_Fault]) -> Iterator[tuple[tuple[str, str], _Given]]:
    text = _text_of(path, faults)
    if text is None:
        return
    try:
        tree = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        said = getattr(error, "problem", None) or "unreadable characters"
        mend = "; settings are texts, numbers, switches, lists and objects without tags" if "for the tag" in said else ""
        faults.append(_Fault(_place(path, error), f"not plain YAML: {said}{mend}"))
        return
    except (RecursionError, TypeError, ValueError):
        faults.append(_Fault(str(path), "not plain YAML: nested too deep, or a key or value that cannot be"))
        return
    yield from _flattened(path, {} if tree is None else tree, faults)


def _text_of(path: Path, faults: list[_Fault]) -> str | None:
    try:
        if not path.is_file():
            faults.append(_Fault(str(path), "no such file; give the path of a YAML file"))
            return None
        if path.stat().st_size > _FILE_BYTES_MAX:
            faults.append(_Fault(str(path), f"larger than {_FILE_BYTES_MAX} bytes; this is no settings file"))
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        faults.append(_Fault(str(path), f"cannot be read ({_reason(error)}); make it a UTF-8 text file that this user may read"))
        return None


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"


def _place(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{path}, line {mark.line + 1}" if mark else str(path)


def _flattened(path: Path, tree: Any, faults: list[_Fault]) -> Iterator[tuple[tuple[str, str], _Given]]:
    if not isinstance(tree, dict):
        faults.append(_Fault(str(path), "must hold sections with settings in them, e.g. `ledger:` and below it `settle_after: 5`"))
        return
    for section, members in tree.items():
        where = f"{path}, {section}"
        if section not in SECTIONS:
            faults.append(_Fault(where, f"no such section{_did_you_mean(str(section), SECTIONS)}"))
        elif members is not None and not isinstance(members, dict):
            faults.append(_Fault(where, f"must hold settings: {', '.join(SECTIONS[section].model_fields)}"))
        else:
            yield from _members(path, section, members or {}, faults)


def _members(path: Path, section: str, members: dict[Any, Any], faults: list[_Fault]) -> Iterator[tuple[tuple[str, str], _Given]]:
    fields = SECTIONS[section].model_fields
    for name, value in members.items():
        where = f"{path}, {section}.{name}"
        if name in fields:
            yield (section, name), _Given(value, where)
        else:
            faults.append(_Fault(where, f"no such setting{_did_you_mean(str(name), fields)}"))


# --- the environment -----------------------------------------------------------------------------------------------


def _from_environment(environ: Mapping[str, str], faults: list[_Fault]) -> Iterator[tuple[tuple[str, str], _Given]]:
    known = {env_name(section, name): (section, name) for section, model in SECTIONS.items() for name in model.model_fields}
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and name not in _NO_SETTINGS):
        if variable in known:
            section, name = known[variable]
            yield (section, name), _Given(_read_variable(section, name, environ[variable]), variable)
        elif "__" in variable or _looks_like(variable, known):
            faults.append(_Fault(variable, f"no such setting{_did_you_mean(variable, known)}"))


def _looks_like(variable: str, known: Mapping[str, object]) -> bool:
    """A setting with the wrong number of underscores, or almost one: orchestrators' own variables are none."""
    single = {name.replace("__", "_") for name in known}
    return variable in single or bool(difflib.get_close_matches(variable, single, n=1, cutoff=0.93))


def _read_variable(section: str, name: str, text: str) -> Any:
    """The value that the text stands for; a text that fits no reading is left for the validation to refuse."""
    field = SECTIONS[section].model_fields[name]
    kind = kind_of(field)
    if kind == "text":
        return text if text or field.default is not None else None
    if kind == "switch":
        return _SWITCH_WORDS.get(text.strip().lower(), text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


# --- validation ----------------------------------------------------------------------------------------------------


def _validated(given: Mapping[tuple[str, str], _Given], faults: list[_Fault]) -> dict[str, BaseModel]:
    """The sections that are in order; the faults of the others are appended."""
    sections: dict[str, BaseModel] = {}
    for section, model in SECTIONS.items():
        values = {name: one.value for (owner, name), one in given.items() if owner == section}
        try:
            # JSON mode, so that strict types hold while lists may stand for tuples
            sections[section] = model.model_validate_json(json.dumps(values, default=str))
        except ValidationError as error:
            faults += [_explained(section, detail, given) for detail in error.errors(include_url=False)]
        except (ValueError, RecursionError, TypeError):
            faults.append(_Fault(section, "holds a value that refers to itself or has no plain form"))
    return sections


def _explained(section: str, detail: Any, given: Mapping[tuple[str, str], _Given]) -> _Fault:
    if not detail["loc"]:  # what settings of a section say together
        return _Fault(section, detail["msg"].removeprefix("Value error, "))
    name, *inner = detail["loc"]
    where = given[section, name].where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner)
    field = SECTIONS[section].model_fields[name]
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if detail["type"] == "extra_forbidden":
        message = "no such field"
    if not is_secret(field) and not inner:
        message += f"; it is {_shown(given[section, name].value)}"
    return _Fault(where, message)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."


def _did_you_mean(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}" if len(known) <= 20 else ""


# --- what no single setting shows ----------------------------------------------------------------------------------


def _contradictions(sections: Mapping[str, BaseModel], given: Mapping[tuple[str, str], _Given]) -> Iterator[_Fault]:
    """Faults between settings; what depends on a section with faults of its own is left for the next start."""
    if not {"otlp", "http"} <= sections.keys():
        return
    settings = Settings.model_validate({name: sections[name] for name in ("otlp", "http")})
    listeners = settings.listeners()
    yield from _clashes(listeners)
    mode = given.get(("auth", "mode"), _Given("off", "")).value
    if mode in ("off", False):
        yield from _unguarded(listeners)
    telemetry, forward = sections.get("telemetry"), sections.get("forward")
    if isinstance(telemetry, Telemetry):
        yield from _own_tail("telemetry.endpoint", telemetry.endpoint, "its telemetry must go to another place", listeners)
    if isinstance(forward, Forward):
        yield from _own_tail("forward.endpoint", forward.endpoint, "spans would come back to it for ever", listeners)


def _clashes(listeners: Mapping[str, Address]) -> Iterator[_Fault]:
    taken: dict[Address, str] = {}
    for name, address in listeners.items():
        if address.port and address in taken:
            yield _Fault(name, f"{address} is also {taken[address]}; give each listener its own port")
        taken.setdefault(address, name)


def _unguarded(listeners: Mapping[str, Address]) -> Iterator[_Fault]:
    for name, address in listeners.items():
        if not address.is_loopback:
            yield _Fault(
                name,
                f"{address} can be reached from other machines while auth.mode is off, which makes everyone an admin; "
                "set auth.mode to token (docs/security.md says how tokens are made), or listen on 127.0.0.1",
            )


def _own_tail(setting: str, endpoint: str, why: str, listeners: Mapping[str, Address]) -> Iterator[_Fault]:
    authority = endpoint.rpartition("://")[2].partition("/")[0]
    host, _, port = authority.rpartition(":")
    for name, address in listeners.items():
        if port == str(address.port) and (host == address.host or Address(host.strip("[]"), 0).is_loopback):
            yield _Fault(setting, f"is the service's own {name}; {why}")
