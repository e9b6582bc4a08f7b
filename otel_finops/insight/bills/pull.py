"""Fetching bills from providers' billing APIs, page by page, with a key that the settings give."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import urllib3

from otel_finops.base.errors import BadInput, TooLarge, Unavailable
from otel_finops.base.limits import BILL_FILE_BYTES_MAX, BILL_PAGE_BYTES_MAX, BILL_PAGES_MAX
from otel_finops.base.times import NS_PER_DAY, NS_PER_SECOND, format_ns
from otel_finops.insight.bills import anthropic, openai, openrouter

_AGAIN_S: Final = 300.0
_PAGE_CHARS_MAX: Final = 2_000
_ANTHROPIC_VERSION: Final = "2023-06-01"
_DAYS_A_PAGE: Final = 31
"""The most days of one page that both APIs give."""


class Source(NamedTuple):
    """A billing API.

    Attributes:
        provider: openai, anthropic or openrouter.
        place: scheme and host, perhaps a path.
        key: of the organization.
    """

    provider: str
    place: str
    key: str


class Report(NamedTuple):
    """One report of an API: its path, query without times, how its files are read, and of what it is where no result says so."""

    path: str
    query: Sequence[tuple[str, str]]
    format: str
    kind: str | None = None


_OPENAI_USAGE: Final = ("completions", "embeddings")
_REPORTS: Final[Mapping[str, Sequence[Report]]] = {
    "openai": (
        Report("/v1/organization/costs", (("group_by[]", "line_item"),), openai.COSTS),
        *(Report(f"/v1/organization/usage/{kind}", (("group_by[]", "model"),), openai.USAGE, kind) for kind in _OPENAI_USAGE),
    ),
    "anthropic": (
        Report("/v1/organizations/cost_report", (("group_by[]", "description"),), anthropic.COST),
        Report("/v1/organizations/usage_report/messages", (("group_by[]", "model"),), anthropic.USAGE),
    ),
    "openrouter": (Report("/api/v1/activity", (), openrouter.ACTIVITY),),
}

Get = Callable[[str, Mapping[str, str]], bytes]
"""URL and headers -> the answer's body; see `getter`."""


class Pulled(NamedTuple):
    """A report as it was fetched, as a file would hold it."""

    format: str
    kind: str | None
    origin: str
    data: bytes


def pull(source: Source, from_ns: int, to_ns: int, get: Get) -> Iterator[Pulled]:
    """Fetch all reports of the whole days in [from_ns, to_ns).

    Raises:
        BadInput: the key is refused, or an answer is none.
        TooLarge: a report's pages are larger than a file of them may be.
        Unavailable: the API is away, or asks to wait.
    """
    for report in _REPORTS[source.provider]:
        url = f"{source.place}{report.path}"
        pages = _openrouter(url, source, get) if source.provider == "openrouter" else _paged(url, report, source, from_ns, to_ns, get)
        yield Pulled(report.format, report.kind, url, json.dumps(list(pages)).encode())


def _paged(url: str, report: Report, source: Source, from_ns: int, to_ns: int, get: Get) -> Iterator[Mapping[str, Any]]:
    query = [*_times(source.provider, from_ns, to_ns), ("bucket_width", "1d"), ("limit", str(_DAYS_A_PAGE)), *report.query]
    page: str | None = None
    size = 0
    for _ in range(BILL_PAGES_MAX):
        asked = urlencode([*query, *([("page", page)] if page is not None else [])])
        body = get(f"{url}?{asked}", _headers(source))
        size += len(body)
        if size > BILL_FILE_BYTES_MAX:
            raise TooLarge(f"{url}: pages of more than {BILL_FILE_BYTES_MAX} bytes; ask for fewer days (reconciliation.sources[].days)")
        answer = _page(body, url)
        yield answer
        page = answer.get("next_page")
        if not answer.get("has_more"):
            return
        if not isinstance(page, str) or len(page) > _PAGE_CHARS_MAX:
            raise BadInput(f"{url}: says that there is more, and not where")
    raise BadInput(f"{url}: more than {BILL_PAGES_MAX} pages")


def _openrouter(url: str, source: Source, get: Get) -> Iterator[Mapping[str, Any]]:
    """One answer: the last 30 days that are over."""
    yield _page(get(url, _headers(source)), url)


def _times(provider: str, from_ns: int, to_ns: int) -> list[tuple[str, str]]:
    if provider == "openai":
        return [("start_time", str(from_ns // NS_PER_SECOND)), ("end_time", str(to_ns // NS_PER_SECOND))]
    return [("starting_at", _instant(from_ns)), ("ending_at", _instant(to_ns))]


def _instant(instant_ns: int) -> str:
    return f"{format_ns(instant_ns - instant_ns % NS_PER_DAY)[:10]}T00:00:00Z"


def _headers(source: Source) -> dict[str, str]:
    if source.provider == "anthropic":
        return {"x-api-key": source.key, "anthropic-version": _ANTHROPIC_VERSION}
    return {"authorization": f"Bearer {source.key}"}


def _page(body: bytes, url: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(body, parse_float=_exact)
    except (ValueError, RecursionError):
        raise BadInput(f"{url}: its answer is no JSON") from None
    if not isinstance(answer, Mapping) or not isinstance(answer.get("data"), list):
        raise BadInput(f"{url}: its answer has no list `data`")
    return answer


def _exact(text: str) -> str:
    """A number as it is written: as a text it passes on into the file unchanged."""
    return text


def getter(timeout_s: float) -> Get:
    """Asks over HTTP: redirects are not followed and proxies of the environment not used, since a key goes along."""
    pool = urllib3.PoolManager(num_pools=4, maxsize=1, retries=False)

    def get(url: str, headers: Mapping[str, str]) -> bytes:
        where = url.partition("?")[0]
        try:
            answer = pool.request(
                "GET", url, headers={**headers, "accept": "application/json", "accept-encoding": "identity", "user-agent": "otel-finops"},
                timeout=urllib3.Timeout(total=timeout_s), redirect=False, preload_content=False,
            )  # fmt: skip
            try:
                body = answer.read(BILL_PAGE_BYTES_MAX + 1, decode_content=False) if answer.status == 200 else b""
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as fault:
            raise Unavailable(f"{where} cannot be asked: {type(fault).__name__}", retry_after_s=_AGAIN_S) from fault
        _check(answer.status, len(body), where)
        return body

    return get


def _check(status: int, size: int, where: str) -> None:
    if status in (401, 403):
        raise BadInput(f"{where} refuses the key ({status}): it needs an admin key of the organization (reconciliation.sources)")
    if status == 429 or status >= 500:
        raise Unavailable(f"{where} answered {status}", retry_after_s=_AGAIN_S)
    if status != 200:
        raise BadInput(f"{where} answered {status}")
    if size > BILL_PAGE_BYTES_MAX:
        raise BadInput(f"{where}: a page of more than {BILL_PAGE_BYTES_MAX} bytes")
