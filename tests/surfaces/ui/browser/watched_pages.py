"""A browser that notes everything a page must not do: errors, reports of the content policy, dialogs, requests to other hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from console_sites import Site
from playwright.sync_api import Browser, BrowserContext, Playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
MARKER = "__executed"
"""A global that nobody sets but script that came in with data."""
_NOTE = f"""
window.__reports = [];
window.{MARKER} = [];
document.addEventListener("securitypolicyviolation", (event) =>
    window.__reports.push(`${{event.violatedDirective}} ${{event.blockedURI}} ${{event.sample}}`));
"""
WEIGHTS: dict[str, int] = {}
"""Bytes that were sent for a page, files included, by its path: told at the end of the run."""
AXE = Axe()
_REFUSED = "Failed to load resource: the server responded with a status of 4"
_ROWS_LOOKED_AT = 5
_TO_BE_MENDED = ("serious", "critical")


def launched(playwright: Playwright) -> Browser:
    """Debian's own browser: none is downloaded."""
    return playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))


@contextmanager
def signed_in(browser: Browser, site: Site, **more: Any) -> Iterator[BrowserContext]:
    """A browser's profile in which the admin of this console is signed in, in a time zone that is not ours."""
    context = browser.new_context(**{"viewport": DESKTOP, "timezone_id": "Europe/Rome", "locale": "en-US", "color_scheme": "light", **more})
    context.add_init_script(_NOTE)
    context.set_default_timeout(20_000)
    if site.token:
        context.add_cookies([{"name": "otel_finops_token", "value": site.token, "url": site.url, "httpOnly": True, "sameSite": "Lax"}])
    yield context
    context.close()


class Watched:
    """A tab and what it did.

    Attributes:
        faults: what it must not do, in words.
        sent_bytes: of bodies and headers that it was sent over the wire since `weigh`.
    """

    def __init__(self, context: BrowserContext, site: Site) -> None:
        self.page = context.new_page()
        self.faults: list[str] = []
        self.sent_bytes = 0
        self._site = site
        self._host = urlsplit(site.url).netloc
        page = self.page
        page.on("console", lambda message: self._note(message.type in ("error", "warning"), f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("request", lambda request: self._note(self._is_foreign(request.url), f"request to {request.url[:200]}"))
        page.on("response", lambda answer: self._note(answer.status >= 500, f"{answer.status} from {answer.url}"))
        page.on("dialog", self._refuse)

    def open(self, address: str, *, status: int | None = 200) -> None:
        """Go to an address of the console and wait until everything is there.

        Args:
            status: that it must answer with; None: any but a fault of the service's own.
        """
        answer = self.page.goto(self._site.url + address)
        assert answer is not None
        self._note(
            status is not None and answer.status != status, f"{answer.status} instead of {status}: {self.page.inner_text('body')[:300]}"
        )
        self._note("content-security-policy" not in answer.headers, "no Content-Security-Policy")

    def said(self) -> str:
        """The text of the page's main part."""
        return self.page.locator("main").inner_text()

    def looked_over(self, *, refused: bool = False) -> Sequence[str]:
        """All faults so far, with those that the page noted itself; the next look begins anew.

        Args:
            refused: input was refused, or something is not there: no fault, though browsers complain of the status.
        """
        noted = self.page.evaluate(f"[window.__reports, window.{MARKER}]")
        found = [*self.faults, *(f"content policy: {report}" for report in noted[0]), *(f"EXECUTED: {one}" for one in noted[1])]
        if refused:
            found = [fault for fault in found if _REFUSED not in fault]
        self.faults.clear()
        self.page.evaluate(f"window.__reports.length = window.{MARKER}.length = 0")
        return found

    def thin_out(self) -> None:
        """Leave of each list and table a few rows: what is wrong with one is wrong with all, and each costs time to look at."""
        self.page.evaluate(f"""() => document.querySelectorAll("main tbody, main ul, main ol, main dl").forEach((list) => {{
            [...list.children].slice({_ROWS_LOOKED_AT}, -1).forEach((row) => row.remove());
        }})""")

    def inaccessible(self, within: str | None = None) -> Sequence[str]:
        """Serious and critical findings of axe-core, within what a selector says."""
        found = AXE.run(self.page, context=within, options={"resultTypes": ["violations"]}).response["violations"]
        return [
            f"axe {one['impact']} {one['id']}: {one['help']}: {node['html'][:160]} ({node['failureSummary'][-160:]})"
            for one in found if one["impact"] in _TO_BE_MENDED for node in one["nodes"][:3]
        ]  # fmt: skip

    def sideways(self) -> Sequence[str]:
        """What makes the page scroll sideways, if it does, once drawings have taken its width."""
        return self.page.evaluate("""async () => {
            for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            const scrolls = (node) => { for (let one = node.parentElement; one && one !== document.body; one = one.parentElement)
                if (getComputedStyle(one).overflowX !== "visible") return true; return false; };
            const sticksOut = (one) => one.getBoundingClientRect().right > width + 1 && !scrolls(one);
            const wide = [...document.body.querySelectorAll("*")].filter(sticksOut);
            return [`scrolls to ${document.documentElement.scrollWidth} px`, ...wide.slice(0, 4).map((one) => one.outerHTML.slice(0, 140))];
        }""")

    def weigh(self) -> None:
        """Count from now on what is sent; what the browser has already is not sent again."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._weighed)

    def look(self, *, dark: bool = False, phone: bool = False) -> None:
        """As somebody sees it whose system is dark, or on a phone."""
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.set_viewport_size(PHONE if phone else DESKTOP)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the tab."""
        self.page.close()

    def _weighed(self, event: dict[str, Any]) -> None:
        self.sent_bytes += int(event["encodedDataLength"])

    def _note(self, is_fault: bool, text: str) -> None:
        if is_fault:
            self.faults.append(text)

    def _is_foreign(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme not in ("data", "blob") and parts.netloc != self._host

    def _refuse(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()
