"""Applications made up call by call, so that what a provider would bill is known: agents with steps and tools, seen by several libraries at
once, with or without a gateway between them and the provider.

Every form in which a call can be seen a second time is an entry of `LAYOUTS` or `GATEWAYS`; a test says which of them to play.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st
from ledger_rig import NOON, SECOND

from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_CLIENT, RANK_FRAMEWORK, RANK_GATEWAY, RANK_VENDOR_SDK, TOOL, Sighting

LIBRARIES: Final = {"framework": RANK_FRAMEWORK, "client": RANK_CLIENT, "sdk": RANK_VENDOR_SDK}
"""From the outermost to the innermost instrumentation of the application."""
LAYOUTS: Final = ("nested", "beside", "own_trace")
"""How the inner libraries' spans lie to the outermost one's."""
GATEWAYS: Final = ("none", "child", "sibling", "linked", "linked_above", "unlinked")
"""Where a gateway's span of a call lies: below the application's, beside it with a link, in a trace of its own with a link, with a link on
its server's span above, or without one."""
ENDS: Final = ("answered", "cached", "marked")
"""What a turn ends with: its calls as the provider answered them; an earlier answer again, from a gateway's cache; or such an answer under
an id of its own, which the gateway marks as cached."""
CENT_SECOND: Final = SECOND // 100


class Turn(NamedTuple):
    """One turn of an agent.

    Attributes:
        twins: equal calls side by side.
        libraries: who sees them, outermost first.
        layout, gateway, end: see above.
        ids: answers have ids that the client's libraries tell.
        summed: the agent's span carries the sum over its calls. wrapped: a framework's span above the calls does.
        failures: attempts of the application that the provider refused before it answered.
        attempts: attempts of the gateway that the provider refused, as the gateway tells them; their answer ids are made up.
        in_tool: the calls are made by a tool.
    """

    twins: int
    libraries: tuple[str, ...]
    layout: str
    gateway: str
    end: str
    ids: bool
    summed: bool
    wrapped: bool
    failures: int
    attempts: int
    in_tool: bool


class Billed(NamedTuple):
    """A call that the provider bills, and under whom it belongs."""

    prompt: int
    output: int
    agent: str
    step: str
    tool: str | None


class Application:
    """Spans of an application, and what is true of it."""

    def __init__(self) -> None:
        self.spans: list[Sighting] = []
        self.billed: list[Billed] = []
        self.failures = self.attempts = 0
        self._at = 0
        self._traces = 1
        self.root = self.add(None, name="POST /ask", to=10_000, attribution={"tenant": "acme", "user": "ada"})

    def add(
        self,
        above: Sighting | None,
        *,
        name: str,
        kind: str = OTHER,
        at: int | None = None,
        to: int = 100,
        new_trace: bool = False,
        **facts: Any,
    ) -> Sighting:
        """Add a span below another one; `at` and `to` are hundredths of a second, `to` after `at`."""
        if new_trace:
            self._traces += 1
        start_ns = NOON + (self._at if at is None else at) * CENT_SECOND
        trace_id = f"{self._traces:032x}" if above is None or new_trace else above.trace_id
        made = Sighting(
            "default", trace_id, f"{len(self.spans) + 1:016x}", None if above is None or new_trace else above.span_id, name, start_ns,
            start_ns + to * CENT_SECOND, kind, **{"genai": kind != OTHER, "instance": "shop", "scope": "web", **facts},
        )  # fmt: skip
        self.spans.append(made)
        return made

    def call(self, above: Sighting | None, tokens: tuple[int, int] | None, scope: str, rank: int, **facts: Any) -> Sighting:
        """Add a call of gpt-4o."""
        known: dict[str, Any] = {"operation": "chat", "provider": "openai", "request_model": "gpt-4o", "price_models": ("gpt-4o",)}
        if tokens is not None:
            known |= {
                "usage": {"input_uncached": tokens[0], "output": tokens[1]},
                "input_readings": (tokens[0],),
                "usage_source": "reported",
            }
        return self.add(above, name="chat gpt-4o", kind=CALL, scope=scope, rank=rank, **(known | facts))

    def play(self, number: int, turn: Turn) -> None:
        """Let an agent take one turn. Turns differ in their numbers, so that only twins and cached answers are equal."""
        self._at = number * 1_000
        tokens, agent, step = (1_000 + 37 * number, 100 + 11 * number), f"agent-{number}", f"step-{number}"
        answers = turn.twins + (turn.end != "answered")  # a framework cannot tell which of its answers came from a cache
        whole = (tokens[0] * answers, tokens[1] * answers)
        total = _usage(whole) if turn.summed else {}
        above = self.add(self.root, name=agent, kind=AGENT, scope="agents", to=900, attribution={"agent": agent}, **total)
        above = self.add(above, name=step, to=890)
        if turn.in_tool:
            above = self.add(above, name="lookup", kind=TOOL, scope="agents", to=880, attribution={"tool": "lookup"})
        billed = Billed(*tokens, agent, "lookup" if turn.in_tool else step, "lookup" if turn.in_tool else None)
        if turn.wrapped and answers > 1:
            above = self.call(above, whole, "chain", RANK_FRAMEWORK, to=870)
        for _ in range(turn.failures):
            self.call(above, None, turn.libraries[-1], LIBRARIES[turn.libraries[-1]], to=5, error_type="RateLimitError")
            self.failures += 1
        for twin in range(turn.twins):
            self._at += 10
            self._see(above, tokens, turn, f"chatcmpl-{number}-{twin}" if turn.ids else None)
            self.billed.append(billed)
        if turn.end != "answered":
            self._at += 200
            self._see(above, tokens, turn, f"chatcmpl-{number}-{'0' if turn.end == 'cached' else 'again'}", marked=turn.end == "marked")

    def _see(self, above: Sighting, tokens: tuple[int, int], turn: Turn, response_id: str | None, *, marked: bool = False) -> None:
        """One answer as the application's libraries and the gateway show it."""
        seen: list[Sighting] = []
        for level, library in enumerate(turn.libraries):
            told = response_id if library != "framework" else None
            facts = {
                "response_id": told,
                "at": self._at + level,
                "to": 100 - 2 * level,
                "new_trace": turn.layout == "own_trace" and level > 0,
            }
            seen.append(self.call(above, tokens, library, LIBRARIES[library], **facts))
            if turn.layout == "nested":
                above = seen[-1]
        if turn.gateway != "none":
            self._pass(seen[-1], seen[0], tokens, turn, response_id, marked)

    def _pass(self, inner: Sighting, outer: Sighting, tokens: tuple[int, int], turn: Turn, response_id: str | None, marked: bool) -> None:
        """The gateway's spans of a call: they begin after the innermost library's span and end before it."""
        form = turn.gateway
        parent = inner if form == "child" else next((s for s in self.spans if s.span_id == outer.parent_span_id), None)
        links = (inner.key,) if form in ("sibling", "linked") else ()
        if form in ("linked", "linked_above", "unlinked"):
            above = (inner.key,) if form == "linked_above" else ()
            where = {"instance": "gateway", "at": self._at + 10, "to": 85, "new_trace": True}
            parent = self.add(None, name="POST /v1/chat/completions", links=above, **where)
        for number in range(turn.attempts):
            made_up = {"response_id": f"attempt-{len(self.spans)}", "error_type": "RateLimitError", "links": links, "instance": "gateway"}
            self.call(parent, None, "gateway", RANK_GATEWAY, at=self._at + 11 + number, to=1, **made_up)
            self.attempts += 1
        facts = {"links": links, "response_id": response_id, "at": self._at + 20, "to": 60, "instance": "gateway", "from_cache": marked}
        self.call(parent, tokens, "gateway", RANK_GATEWAY, **facts)


def _usage(tokens: tuple[int, int]) -> dict[str, Any]:
    return {"usage": {"input_uncached": tokens[0], "output": tokens[1]}, "input_readings": (tokens[0],), "usage_source": "reported"}


def described(made: Application) -> str:
    """The spans as an indented list, for failures."""
    return "\n".join(map(_line, made.spans))


def _line(s: Sighting) -> str:
    links = [(trace_id[-2:], span_id[-2:]) for trace_id, span_id in s.links]
    place = f"{s.trace_id[-2:]} {s.span_id[-2:]} <- {(s.parent_span_id or '--')[-2:]} at {(s.start_ns - NOON) / SECOND:.2f}"
    return f"{place} {s.kind} {s.name} {s.scope} {s.instance} id={s.response_id} {s.usage or s.error_type or ''} links={links}"


@st.composite
def turns(draw: st.DrawFn, gateways: Sequence[str], ends: Sequence[str]) -> Turn:
    """Turns that the given forms allow; what no rule could know is left out, with the reason beside it."""
    libraries = tuple(sorted(draw(st.sets(st.sampled_from(sorted(LIBRARIES)), min_size=1)), key=list(LIBRARIES).index))
    gateway = draw(st.sampled_from(gateways))
    end = draw(st.sampled_from([end for end in ends if gateway != "none" or end != "marked"] or ["answered"]))
    told = libraries != ("framework",)
    # Without an answer id two services' spans are one call only where the trace or a link says so; a cached answer shows by its id alone.
    ids = draw(st.booleans()) if gateway != "unlinked" and end == "answered" else True
    if not told and (gateway == "unlinked" or end != "answered"):
        libraries = (*libraries, "client")
    return Turn(
        twins=draw(st.integers(1, 3)),
        libraries=libraries,
        layout=draw(st.sampled_from(LAYOUTS)),
        gateway=gateway,
        end=end,
        ids=ids,
        summed=draw(st.booleans()),
        wrapped=draw(st.booleans()),
        failures=draw(st.integers(0, 2)),
        attempts=draw(st.integers(0, 2)) if gateway != "none" and end == "answered" else 0,
        in_tool=draw(st.booleans()),
    )


@st.composite
def applications(draw: st.DrawFn, gateways: Sequence[str] = GATEWAYS, ends: Sequence[str] = ENDS) -> Application:
    """An application of one to four turns."""
    made = Application()
    for number, turn in enumerate(draw(st.lists(turns(gateways, ends), min_size=1, max_size=4))):
        made.play(number, turn)
    return made
