"""Pages that stay open from test to test; each test begins at its own address and answers for what its page did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guard import leaks
from pages import GO

# A page begins anew: nothing focused, selected, open or said, the top in sight, and every view told of the address as by a reader.
ANEW = f"""async (address) => {{
  for (const dialog of document.querySelectorAll("dialog[open]")) {{
    await new Promise((closed) => {{ dialog.addEventListener("close", closed, {{ once: true }}); dialog.close(); }});
  }}
  document.activeElement?.blur();
  getSelection().removeAllRanges();
  for (const live of document.querySelectorAll("[data-part=live]")) live.textContent = "";
  scrollTo(0, 0);
  await ({GO})(address);
}}"""
# Answered after all that the page has said so far; what a test left in the browser's store is gone for the next.
SETTLED = "() => { try { localStorage.clear(); sessionStorage.clear(); } catch { /* no store here */ } }"


@dataclass(slots=True, eq=False)
class Tab:
    """A page, with all that it asked for and complained about since it was last asked."""

    page: Any
    options: dict[str, Any]  # of its context
    home: str = "nowhere"  # the address that no request may leave
    shown: tuple[Path, int, int] | None = (
        None  # the file, when it was written [ns], its size [bytes]; None: not to be looked at again
    )
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(5000)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def faults(self) -> list[str]:
        """Requests that left home, and words on the console; each is told once."""
        found = [f"asked for {url}" for url in leaks(self.requests, self.home)] + self.complaints
        self.requests.clear()
        self.complaints.clear()
        return found

    def show(self, path: Path, address: str, *, anew: bool) -> None:
        """Go to an address of a file; where the file is shown already its document stays, but for `anew`."""
        written = (path, path.stat().st_mtime_ns, path.stat().st_size)
        there = self.page.url.partition("#")[0] == path.as_uri()
        if there and self.shown == written and not anew:
            self.page.evaluate(ANEW, address)
            return
        if there:  # else the browser only jumps to the fragment
            self.page.goto("about:blank")
        self.home, self.shown = path.parent.as_uri(), written
        self.page.goto(path.as_uri() + address)


class Tabs:
    """The open pages of a module, by the kind of their context; whoever asks gets one that nobody holds."""

    def __init__(self, new_context: Callable[..., Any]) -> None:
        self.new_context = new_context
        self.idle: list[Tab] = []

    def take(self, options: dict[str, Any]) -> Tab:
        """A page of such a context: one that lay idle, else a new one."""
        fits = next((tab for tab in self.idle if tab.options == options), None)
        if fits is None:
            return self.new(options)
        self.idle.remove(fits)
        return fits

    def new(self, options: dict[str, Any]) -> Tab:
        """A page in a context of its own."""
        return Tab(self.new_context(**options).new_page(), options)

    def close(self) -> list[str]:
        """Close all; what the pages did after their last test is returned."""
        found = []
        for tab in self.idle:
            found += tab.faults()
            tab.page.context.close()
        self.idle.clear()
        return found


class Opened:
    """Opens the pages of one test: `opened(file, "#address", width=320)`."""

    def __init__(self, tabs: Tabs) -> None:
        self.tabs = tabs
        self.held: list[Tab] = []
        self.spent: list[Tab] = []  # contexts that are not handed on

    def __call__(self, path: Path, address: str = "", *, anew: bool = False, own: bool = False, **options: Any) -> Any:
        """A page at an address of a file; `width` and `height` are those of the window [px].

        The document stays from test to test where the file is the same, for the address says the whole state. A test that
        changes more than the address gets its document `anew`, and nobody after it gets that one. A test that changes what
        outlives a document, such as the clock, permissions or scripts, has a context of its `own`.
        """
        tab = self.hold(own=own, **options)
        anew = anew or options.get("java_script_enabled") is False  # nothing there that hears of an address
        tab.show(path, address, anew=anew)
        if anew:
            tab.shown = None
        return tab.page

    def hold(
        self, *, own: bool = False, width: int = 1280, height: int = 900, color_scheme: str = "light", **options: Any
    ) -> Tab:
        """A page for this test, its window and theme as asked for; the other options are those of its context."""
        tab = self.tabs.new(options) if own else self.tabs.take(options)
        self.held.append(tab)
        if own:
            self.spent.append(tab)
        late = tab.faults()
        assert not late, f"between two tests: {late}"
        size = {"width": width, "height": height}
        if tab.page.viewport_size != size:
            tab.page.set_viewport_size(size)
        tab.page.emulate_media(media="null", color_scheme=color_scheme, reduced_motion="reduce")
        return tab

    def close(self, *, failed: bool) -> list[str]:
        """What the pages of this test did that no page may do; they are kept for the next test, or closed."""
        found = []
        for tab in self.held:
            open_ = not tab.page.is_closed()
            if open_:
                tab.page.evaluate(SETTLED)
                tab.page.mouse.move(0, 0)
            found += tab.faults()
            if failed or not open_ or tab in self.spent:
                tab.page.context.close()
            else:
                self.tabs.idle.append(tab)
        return found
