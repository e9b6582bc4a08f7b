"""What an operation is, and the one way to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict

from otel_finops.audit.trail import Change
from otel_finops.base.errors import Forbidden, NotFound
from otel_finops.identity.principals import Principal
from otel_finops.identity.roles import Permission
from otel_finops.operations.context import Context
from otel_finops.settings.tree import Features

Json: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = Callable[[Context, Principal, Any], Any]


class Input(BaseModel):
    """Base of all input models: query parameters, request bodies and command options; unknown names are refused.

    Validators are built when they are first needed: a command needs one of them, `--help` none, and the API all before it serves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True, defer_build=True)


class Output(BaseModel):
    """Base of all output models. They describe answers; handlers return the JSON values themselves, which tests hold against them."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Changed(NamedTuple):
    """What a changing handler returns.

    Attributes:
        output: the answer.
        before, after: JSON values for the audit trail, free of secrets; None for what did not exist.
    """

    output: Json
    before: Any
    after: Any


class Unchanged(NamedTuple):
    """What a changing handler returns when it only tried (a dry run): nothing goes on record."""

    output: Json


class Operation(NamedTuple):
    """One verb.

    Attributes:
        name: `room.verb`; the command's words and the API's operation id.
        path: below `/api/v1`; parts in braces are fields of the input.
        input, output: pydantic models.
        permission: what a principal must have.
        summary: one sentence.
        handler: (context, principal, input) -> JSON values, or `Changed` when it changes something.
        feature: the switch it hangs on, a field of `settings.Features`; None for always.
        changes: it changes something; then it is a POST and goes on record.
        agents: it may be shown to a language model's agent.
        by_body: it reads, and takes its input as a JSON body by POST as well, for what is too long for a URL.
        streams: it reads, and its handler gives a `streams.Stream` of rows, any number of them, which the surfaces write in the format
            that its input (a `streams.Streamed`) asks for; it is run by `streams.open_stream`, and `output` describes one row.
    """

    name: str
    path: str
    input: type[Input]
    output: type[Output]
    permission: Permission
    summary: str
    handler: Handler
    feature: str | None = None
    changes: bool = False
    agents: bool = True
    by_body: bool = False
    streams: bool = False

    @property
    def method(self) -> str:
        """The HTTP method of its route."""
        return "POST" if self.changes else "GET"

    @property
    def words(self) -> tuple[str, ...]:
        """The command's words: `traces.show` -> ("traces", "show")."""
        return tuple(self.name.replace("_", "-").split("."))

    @property
    def path_fields(self) -> tuple[str, ...]:
        """Input fields that stand in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    def is_on(self, features: Features) -> bool:
        """Whether the feature that it hangs on is switched on."""
        return self.feature is None or bool(getattr(features, self.feature))


def operation(
    name: str,
    path: str,
    *,
    output: type[Output],
    takes: type[Input],
    permission: Permission,
    summary: str,
    feature: str | None = None,
    changes: bool = False,
    agents: bool = True,
    by_body: bool = False,
    streams: bool = False,
) -> Callable[[Handler], Operation]:
    """Declare the decorated handler as an operation; the arguments are those of `Operation`."""

    def declare(handler: Handler) -> Operation:
        return Operation(name, path, takes, output, permission, summary, handler, feature, changes, agents, by_body, streams)

    return declare


class Registry(Sequence[Operation]):
    """All operations, each name and path once."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._all: Final = tuple(sorted(operations, key=lambda one: one.name))
        for taken in ([one.name for one in self._all], [(one.changes, one.path) for one in self._all]):
            assert len(set(taken)) == len(taken), taken

    def __getitem__(self, index: Any) -> Any:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def named(self, name: str) -> Operation:
        """The operation of this name; KeyError when there is none."""
        return {one.name: one for one in self._all}[name]

    def switched_on(self, features: Features) -> Iterator[Operation]:
        """Those whose feature is on."""
        return (one for one in self._all if one.is_on(features))


def admit(one: Operation, context: Context, principal: Principal) -> None:
    """Let a principal run an operation.

    Raises:
        NotFound: its feature is switched off.
        Forbidden: the principal's role does not allow it.
    """
    if not one.is_on(context.features):
        raise NotFound(f"The feature {one.feature} is switched off (setting features.{one.feature}).")
    if not principal.may(one.permission):
        raise Forbidden(f"{one.name} needs the permission {one.permission}.")


def invoke(one: Operation, context: Context, principal: Principal, given: Input, *, origin: str) -> Json:
    """Run an operation for a principal: the only way in, whatever the surface.

    Args:
        one: the operation.
        context: what it works on.
        principal: for whom.
        given: an instance of its input model.
        origin: from where, for the audit trail.

    Raises:
        NotFound: its feature is switched off, or what it was asked for does not exist for this principal.
        Forbidden: the principal's role does not allow it.
        BadInput: the input contradicts itself.
        Busy, Unavailable: the store cannot answer now.
    """
    admit(one, context, principal)
    answer = one.handler(context, principal, given)
    if not one.changes:
        return answer  # type: ignore[no-any-return]
    if isinstance(answer, Unchanged):
        return answer.output
    assert isinstance(answer, Changed), f"{one.name} changes something and must say what"
    context.trail.record(Change(principal.who, one.name, answer.before, answer.after, context.clock.now_ns(), origin))
    return answer.output
