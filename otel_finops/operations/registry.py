"""What an operation is, and the one way to run it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict

from otel_finops.audit.redaction import recorded
from otel_finops.audit.trail import Change, Outcome
from otel_finops.base.errors import BadInput, FinopsError, Forbidden, NotFound
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.identity.principals import Principal
from otel_finops.identity.roles import Permission
from otel_finops.operations.context import Context
from otel_finops.operations.desks import Keyed, Replayed
from otel_finops.operations.idempotency import checked_key, keyed
from otel_finops.settings.features import Features

log = logging.getLogger(__name__)

Json: TypeAlias = Mapping[str, Any]
Runs: TypeAlias = bool | Callable[[Any], bool]
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
        before, after: JSON values for the audit trail; None for what did not exist. Fields with names of secrets are cut out of them,
            and long ones are cut short.
        tenant: whose thing was changed, in whose chain it goes on record; None: the tenant of the principal who has but one, otherwise
            the whole service's. A run's chain is that of its intent: of the `tenant` in its input, where that names one.
    """

    output: Json
    before: Any
    after: Any
    tenant: str | None = None


class Unchanged(NamedTuple):
    """What a changing handler returns when it only tried (a dry run), or there was nothing to change: nothing goes on record."""

    output: Json


class Together(NamedTuple):
    """How an operation that is asked with every model call is answered for many at a time, on one thread.

    Attributes:
        prepare: (context, principal, input) -> what is to be answered, whatever that is; writes nothing, raises what the handler raises.
        finish: (context, what was prepared, of many) -> of each the answer, or the fault that it gets.
        late: (context, what was prepared) -> the answer of who has waited long enough; None: he is told to ask again.
        waits: whether `prepare` may take long, so that others should not stand behind it.
    """

    prepare: Callable[[Context, Principal, Any], Any]
    finish: Callable[[Context, Sequence[Any]], Sequence[Json | FinopsError]]
    late: Callable[[Context, Any], Json] | None = None
    waits: Callable[[Context], bool] = lambda _: False

    def handler(self, context: Context, principal: Principal, given: Any) -> Json:
        """The same for one."""
        [answer] = self.finish(context, [self.prepare(context, principal, given)])
        if isinstance(answer, FinopsError):
            raise answer
        return answer


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
        changes: it changes something; then it is a POST and goes on record. All that its handler writes and the record are one
            transaction (`Store.together`), which begins with the first write: the handler takes no lease, fetches nothing after that,
            and lets memory that outlives it follow by `Transaction.after_commit`.
        runs: a change that takes leases, fetches, or works for long, in as many transactions as it likes: its intent is on record
            before it begins, its outcome afterwards.
        own_record: a change that is on record by itself, in a table that is only added to, or is part of such a record: it is not put
            into the trail of changes, and takes as many transactions as it likes. A key that is sent beside the input is the input's
            `idempotency_key`, where it has such a field; where it has none, saying the same twice changes nothing anyway.
        together: how many that ask at a time are answered together; of operations with their own record alone.
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
    runs: Runs = False
    own_record: bool = False
    together: Together | None = None

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

    def is_run(self, given: Input) -> bool:
        """Whether this change goes on record by intent and outcome."""
        return self.runs(given) if callable(self.runs) else self.runs

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
    runs: Runs = False,
    own_record: bool = False,
    together: Together | None = None,
) -> Callable[[Handler], Operation]:
    """Declare the decorated handler as an operation; the arguments are those of `Operation`."""

    def declare(handler: Handler) -> Operation:
        return Operation(
            name, path, takes, output, permission, summary, handler, feature, changes, agents, by_body, streams, runs, own_record, together
        )

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


def invoke(one: Operation, context: Context, principal: Principal, given: Input, *, origin: str, key: str | None = None) -> Json:
    """Run an operation for a principal: the only way in, whatever the surface.

    Args:
        one: the operation.
        context: what it works on.
        principal: for whom.
        given: an instance of its input model.
        origin: from where, for the audit trail: surface, address, request id.
        key: of a change: who repeats it with this key gets the stored answer (a `Replayed`) and nothing is changed again; reads and dry
            runs (`dry_run`) change nothing and take none.

    Raises:
        NotFound: its feature is switched off, or what it was asked for does not exist for this principal.
        Forbidden: the principal's role does not allow it.
        BadInput: the input contradicts itself.
        KeyReused: the key belongs to another input.
        Conflict: what was asked for with the key is not done yet.
        Busy, Unavailable: the store cannot answer now, or not put the change on record; it was not made then.
    """
    admit(one, context, principal)
    if not one.changes:
        return one.handler(context, principal, given)  # type: ignore[no-any-return]
    if one.own_record:
        return one.handler(context, principal, _under(key, given))  # type: ignore[no-any-return]
    asked = _Asked(one, context, principal, given, origin, None if key is None else keyed(one.name, principal, given, key))
    if getattr(given, "dry_run", False):
        return asked.handled().output
    return _run(asked) if one.is_run(given) else _change(asked)


def prepared(one: Operation, context: Context, principal: Principal, given: Input, key: str | None = None) -> Any:
    """The first half of `invoke` for an operation that is answered `together`; its `finish` is the second."""
    assert one.together is not None
    admit(one, context, principal)
    return one.together.prepare(context, principal, _under(key, given))


def _under(key: str | None, given: Input) -> Input:
    """The input with the key that was sent beside it."""
    if key is None or "idempotency_key" not in type(given).model_fields:
        return given
    said = getattr(given, "idempotency_key", None)
    if said not in (None, key):
        raise BadInput("idempotency_key: the request's Idempotency-Key is another one; give one of them, or the same twice")
    return given.model_copy(update={"idempotency_key": checked_key(key)})


class _Asked(NamedTuple):
    """A change that somebody asks for."""

    one: Operation
    context: Context
    principal: Principal
    given: Input
    origin: str
    key: Keyed | None

    def claimed(self) -> Replayed | None:
        """The stored answer; None where the change is to be made."""
        return None if self.key is None else self.context.answers.claim(self.key)

    def handled(self) -> Changed | Unchanged:
        """What the handler did."""
        answer = self.one.handler(self.context, self.principal, self.given)
        assert isinstance(answer, Changed | Unchanged), f"{self.one.name} changes something and must say what"
        return answer

    def record(self, tenant: str, outcome: Outcome, before: Any, after: Any, began: int | None = None) -> int:
        """Put it on record."""
        at_ns = self.context.clock.now_ns()
        return self.context.trail.record(
            Change(self.principal.who, self.one.name, before, after, at_ns, self.origin, tenant, outcome, began)
        )

    def keep(self, output: Json) -> Json:
        """Store the answer for those who ask again."""
        if self.key is not None:
            self.context.answers.keep(self.key, output)
        return output

    @property
    def tenant(self) -> str:
        """In whose chain it goes on record when the handler does not say."""
        tenants = self.principal.tenants
        return tenants[0] if tenants is not None and len(tenants) == 1 else ANY_TENANT

    @property
    def tenant_of_run(self) -> str:
        """The same of a run, whose intent is recorded before the handler says anything: the tenant that is asked for, if there is one."""
        named = getattr(self.given, "tenant", None)
        return named if named and self.principal.sees(named) else self.tenant


def _change(asked: _Asked) -> Json:
    """Change and record in one transaction."""
    with asked.context.trail.together():
        if (replayed := asked.claimed()) is not None:
            return replayed
        answer = asked.handled()
        if isinstance(answer, Changed):
            asked.record(answer.tenant or asked.tenant, "done", answer.before, answer.after)
        return asked.keep(answer.output)


def _run(asked: _Asked) -> Json:
    """The intent on record, the run, its outcome on record."""
    wanted = recorded(asked.given.model_dump(mode="json", by_alias=True, exclude_none=True))  # a file's megabytes, before anybody waits
    with asked.context.trail.together():
        if (replayed := asked.claimed()) is not None:
            return replayed
        began = asked.record(asked.tenant_of_run, "begun", None, wanted)
    try:
        answer = asked.handled()
    except BaseException as fault:
        _failed(asked, began, fault)
        raise
    with asked.context.trail.together():
        before, after = (answer.before, answer.after) if isinstance(answer, Changed) else (None, None)
        asked.record(asked.tenant_of_run, "done" if isinstance(answer, Changed) else "unchanged", before, after, began)
        return asked.keep(answer.output)


def _failed(asked: _Asked, began: int, fault: BaseException) -> None:
    """Put on record what ended a run; its key is free again, since a repeated request goes on where this one ended."""
    said = str(fault) if isinstance(fault, FinopsError) else type(fault).__name__
    try:
        with asked.context.trail.together():
            asked.record(asked.tenant_of_run, "failed", None, {"fault": said}, began)
            if asked.key is not None:
                asked.context.answers.release(asked.key)
    except FinopsError as unrecorded:
        log.error("the outcome of %s, begun as %d, is not on record: %s", asked.one.name, began, unrecorded)
