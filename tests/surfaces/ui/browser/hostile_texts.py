"""Texts that would run in a page that shows them carelessly, and a ledger that has them in every place that somebody outside can fill."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from console_sites import LEDGER, Site, running, settings_for
from empty_ledgers import fill
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status
from pydantic import ValidationError

from otel_finops.app import Core, open_core
from otel_finops.base.clock import SystemClock
from otel_finops.base.errors import FinopsError
from otel_finops.base.protocols import Credential, ExportRequest
from otel_finops.demo.management import ask
from otel_finops.identity.principals import LOCAL
from otel_finops.operations.local import make_context

_RUN = "window.__executed.push({})"
_TEXTS = (
    "<script>RUN</script>",
    "</script><script>RUN</script>",
    "<ScRiPt>RUN</sCrIpT>",
    "<scr<script>ipt>RUN</scr</script>ipt>",
    "</title><script>RUN</script>",
    "</textarea><script>RUN</script>",
    "</style><script>RUN</script>",
    "--><script>RUN</script><!--",
    "]]><script>RUN</script>",
    "<img src=x onerror=RUN>",
    '"><img src=x onerror=RUN>',
    "'><img src=x onerror=RUN>",
    '" onmouseover="RUN" onfocus="RUN" autofocus="',
    "' onmouseover='RUN' onfocus='RUN' autofocus='",
    "` onmouseover=`RUN` x=`",
    "x onpointerenter=RUN onanimationstart=RUN style=animation-name:spin",
    "<svg onload=RUN>",
    "<svg><script>RUN</script></svg>",
    "<svg><animate onbegin=RUN attributeName=x dur=1s>",
    '<svg><a xlink:href="javascript:RUN"><text y=20>here</text></a></svg>',
    "<details open ontoggle=RUN><summary>here</summary></details>",
    "<body onload=RUN><iframe srcdoc='<script>parent.RUN</script>'>",
    '<iframe src="javascript:parent.RUN"></iframe>',
    "javascript:RUN//",
    "JaVaScRiPt:RUN//",
    "\tjava\nscript:RUN//",
    "data:text/html,<script>opener.RUN</script>",
    "{{7*7}}{{''.__class__.__mro__}}<script>RUN</script>",
    "{% raw %}{% endraw %}${RUN}#{RUN}<%= RUN %>",
    "{{constructor.constructor('RUN')()}}",
    '"}]}</script><script>RUN</script>{"a":[{"b":"',
    '\\"};RUN;//',
    "&lt;script&gt;RUN&lt;/script&gt;&#60;img src=x onerror=RUN&#62;",
    "%3Cscript%3ERUN%3C/script%3E",
    "\x00<script\x00>RUN</script\x00>",
    "\u202e\u2028\u2029\ufeff<\u017fcript>RUN</\u017fcript>\uff1cscript\uff1eRUN\uff1c/script\uff1e",
    "<noscript><p title='</noscript><img src=x onerror=RUN>'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=RUN&gt;'>",
    "<div hx-get=/ hx-trigger=load hx-on:htmx:load=RUN hx-on::after-request=RUN data-hx-on:click=RUN></div>",
    '</style><link rel=stylesheet href=data:text/css,*{background:url(http://other.invalid)}>"style="background:url(http://other.invalid)',
)
TEXTS: tuple[str, ...] = tuple(text.replace("RUN", _RUN.format(number)) for number, text in enumerate(_TEXTS, 1))
assert len(TEXTS) == len(set(TEXTS)) == 40
DISPLAYED_MAX = 256
"""Names of what people define have at most so many characters."""

_KEYS = (
    "finops.tenant", "finops.cost_center", "finops.purpose", "finops.step", "user.id", "session.id", "gen_ai.conversation.id",
    "gen_ai.agent.name", "gen_ai.workflow.name", "finops.outcome.name",
)  # fmt: skip
CALLS_TRACE = "f" * 32
"""The trace in which every text is a call's name and step."""


def request_of_all() -> ExportTraceServiceRequest:
    """A trace for each text, which is in all places of its spans, and one trace in which each is a call."""
    request, rng = ExportTraceServiceRequest(), Random(7)
    now_ns = SystemClock().now_ns()
    for number, text in enumerate(TEXTS):
        made, start_ns = request.resource_spans.add(), now_ns - (number + 2) * 3_600_000_000_000
        _put(made.resource, {"service.name": text, "deployment.environment.name": text, text[:200]: text, "host.name": text})
        trace_id, agent, call = rng.randbytes(16), rng.randbytes(8), rng.randbytes(8)
        everywhere = dict.fromkeys(_KEYS, text)
        _span(
            made, trace_id, agent, b"", text, start_ns, {**everywhere, "gen_ai.operation.name": "invoke_agent", "finops.outcome": "failure"}
        )
        _span(made, trace_id, call, agent, text, start_ns + 10, {**everywhere, **_call("gpt-4o", "openai"), text: text, "tag": text})
        _span(made, trace_id, rng.randbytes(8), agent, text, start_ns + 20, {**everywhere, **_call(text, text), "server.address": text})
        _span(made, trace_id, rng.randbytes(8), agent, text, start_ns + 30, {**_call("gpt-4o", "openai"), "error.type": text}, failed=text)
        _span(
            made,
            trace_id,
            rng.randbytes(8),
            agent,
            text,
            start_ns + 40,
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": text},
        )
        _span(
            made, bytes.fromhex(CALLS_TRACE), call, b"", text, now_ns - 60_000_000_000, {**_call("gpt-4o", "openai"), "finops.step": text}
        )
    return request


@contextmanager
def hostile_site(folder: Path) -> Iterator[tuple[Site, Counter[str]]]:
    """A console over a ledger that is full of these texts, and how many of them each operation took."""
    file = folder / LEDGER
    fill(f"sqlite:///{file}")
    settings = settings_for(file, ATTRIBUTION__TAGS='["tag"]')
    with open_core(settings, "tests") as core:
        core.pipeline(ExportRequest(request_of_all().SerializeToString(), "protobuf", Credential()))
        core.settler.settle_all()
        taken = defined(core)
    with running(settings) as site:
        yield site, taken


def defined(core: Core) -> Counter[str]:
    """Have every text in every name, description and reason that people can give; returns how many of them each operation took."""
    context = make_context(core.settings, core.store, core.subjects, core.prices, core.clock, anywhere=True)
    taken: Counter[str] = Counter()
    for number, text in enumerate(TEXTS):
        for verb, fields in _definitions(number, text[:DISPLAYED_MAX]):
            try:
                ask(context, verb, LOCAL, **fields)
                taken[verb] += 1
            except (FinopsError, ValidationError):  # many are no names at all, which is as good
                taken[verb] += 0
    for job in ("fill_budgets", "check_alerts"):
        context.jobs.run(job, who="tests")
    return taken


def _definitions(number: int, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    scope = {"tenant": text}
    yield "budgets.create", {"name": text, "amount": "0.001", "scope": scope}
    yield "budgets.create", {"name": f"{number}", "amount": "0.001", "scope": {"agent": text}}
    yield "policies.create", {"name": text, "description": text, "action": "require_approval", "scope": scope, "priority": 10 + number}
    yield "decisions.create", {"provider": text, "model": text, "tenant": text, "agent": text, "step": text, "input_tokens": 10}
    yield "cost_centers.create", {"code": text, "name": text, "owner": text, "department": text}
    yield "allocations.create", {"name": text, "amount": "5", "every": "month", "from": "2026-01-01", "method": "proportional"}
    yield "credits.create", {"name": text, "scope": scope, "amount": "5", "low": "6", "why": text}
    yield "kill_switch.set", {"scope": "agent", "name": text, "why": text}
    yield "channels.create", {"type": "slack", "name": text, "url": "https://hooks.example.invalid/x", "enabled": False}
    yield "alert_rules.create", {"name": text, "kind": "budget", "labels": {"team": text}}
    yield "alert_routes.create", {"name": text, "channels": [1], "rules": [text]}
    yield "pricing.alias", {"name": text, "key": "gpt-4o", "why": text}
    yield "pricing.override", {"model": f"{text} 2", "prices": {"input": "1", "output": "1"}, "why": text}
    yield "prices.watch", {"model": text, "tenant": text}
    yield "subscriptions.add", {"id": text, "from": "2026-01-01", "models": [text], "why": text}
    yield "whatif.save", {"name": text, "to_model": "gpt-4o-mini", "tenant": text}
    yield "routing.create", {"name": text, "candidates": text, "bar": "0.5"}
    yield "tokens.create", {"name": text, "role": "viewer", "tenants": [text]}
    yield "senders.create", {"name": text, "tenants": [text]}
    yield "outcomes.record", {"trace_id": f"{number + 1:032x}", "outcome": "failure", "name": text, "note": text, "tenant": text}
    yield "anomalies.mute", {"tenant": text, "why": text}
    scores = f'model,provider,score\n"{text.replace(chr(34), chr(34) * 2)}",openai,0.5\n'
    yield "quality.import", {"from": text, "source": text, "content": base64.b64encode(scores.encode()).decode()}
    bill = f'Day,Model,Cost\n2026-11-01,"{text.replace(chr(34), chr(34) * 2)}",1.0\n'
    yield "bills.import", {"from": text, "name": text, "provider": text, "content": base64.b64encode(bill.encode()).decode()}


def _call(model: str, provider: str) -> dict[str, str | int]:
    return {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model, "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100,
    }  # fmt: skip


def _span(
    made: ResourceSpans,
    trace_id: bytes,
    span_id: bytes,
    parent: bytes,
    name: str,
    start_ns: int,
    attributes: Mapping[str, str | int],
    failed: str = "",
) -> None:
    scoped = made.scope_spans[0] if made.scope_spans else made.scope_spans.add()
    span = scoped.spans.add(trace_id=trace_id, span_id=span_id, parent_span_id=parent, name=name, kind=Span.SPAN_KIND_CLIENT)
    span.start_time_unix_nano, span.end_time_unix_nano = start_ns, start_ns + 1_000_000_000
    if failed:
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=failed))
    _put(span, attributes)


def _put(holder: Any, attributes: Mapping[str, str | int]) -> None:
    for key, value in attributes.items():
        made = holder.attributes.add(key=key).value
        if isinstance(value, int):
            made.int_value = value
        else:
            made.string_value = value
