"""Somebody who has no mouse: Tab until what he wants has the focus, then Enter."""

from __future__ import annotations

from playwright.sync_api import Page

_TABS_MAX = 160
_FOCUSED = """() => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const box = one.getBoundingClientRect();
    const labels = [...(one.labels || [])].map((label) => label.innerText).join(" ");
    const label = one.getAttribute("aria-label") || labels || one.innerText || one.value || "";
    const style = getComputedStyle(one);
    const seen = box.width > 0 && box.height > 0 && (style.outlineStyle !== "none" || style.boxShadow !== "none");
    return {label: label.trim(), href: one.getAttribute("href") || "", tag: one.tagName.toLowerCase(), seen};
}"""


class Keyboard:
    """Uses a page by its keys alone.

    Attributes:
        pressed: how often Enter was pressed on something that leads on: what others call clicks.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pressed = 0

    def to(self, label: str = "", *, href: str = "", tag: str = "", back: bool = False) -> None:
        """Tab until something whose label begins with this text, whose link holds that one, has the focus, and can be seen to have it."""
        met: list[str] = []
        for _ in range(_TABS_MAX):
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
            focused = self.page.evaluate(_FOCUSED)
            if focused is None:
                continue
            met.append(f"{focused['tag']} {focused['label'][:30]!r}")
            fits = focused["label"].lower().startswith(label.lower()) and href in focused["href"] and tag in ("", focused["tag"])
            if fits:
                assert focused["seen"], f"{met[-1]} has the focus, and nobody sees it"
                return
        raise AssertionError(f"no {tag} {label!r} {href} within {_TABS_MAX} tabs; there were {met[:60]}")

    def past_the_frame(self) -> None:
        """By the first link of every page to its main part."""
        self.to("Skip to the page")
        self.page.keyboard.press("Enter")

    def follow(self, label: str = "", *, href: str = "") -> None:
        """Open a link, and wait for its page."""
        self.to(label, href=href, tag="a")
        self._leave()

    def send(self, label: str) -> None:
        """Press a button that sends a form, and wait for the answer."""
        self.to(label, tag="button")
        self._leave()

    def fill(self, label: str, text: str) -> None:
        """Write into a field."""
        self.to(label)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def choose(self, label: str, option: str) -> None:
        """Take one of a field's options by typing its first letters."""
        self.to(label, tag="select")
        self.page.keyboard.type(option)

    def enter(self) -> None:
        """Send the form by Enter in a field."""
        self._leave()

    def _leave(self) -> None:
        self.pressed += 1
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")
