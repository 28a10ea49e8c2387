"""A Chromium that cannot leave the machine, and pages opened under guard: no request outside, no console error."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_page import fake_page, fake_rows
from tabs import Opened, Tabs

from vgg_viz.gallery.page import render, render_index

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PLAYWRIGHT = importlib.util.find_spec("pytest_playwright") and importlib.util.find_spec("axe_playwright_python")


def refuse() -> None:
    """Skip with a reason where there is no browser; fail where there must be one."""
    wanted = (
        "Chromium (apt-get install chromium)"
        if not CHROMIUM
        else "playwright, pytest-playwright and axe-playwright-python"
    )
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"browser tests must run in CI, but there is no {wanted}", pytrace=False)
    pytest.skip(f"there is no {wanted}")


if CHROMIUM and PLAYWRIGHT:

    @pytest.fixture(scope="session")
    def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
        return {
            **browser_type_launch_args,
            "executable_path": CHROMIUM,
            "args": [
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        }

    @pytest.fixture(scope="session")
    def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
        return {**browser_context_args, "offline": True, "reduced_motion": "reduce"}

    @pytest.fixture(scope="module")
    def tabs(browser: Any, browser_context_args: dict[str, Any]) -> Iterator[Tabs]:
        """The pages that the tests of a module hand on to each other."""
        found = Tabs(lambda **options: browser.new_context(**{**browser_context_args, **options}))
        yield found
        assert found.close() == [], "after the last test"

else:

    @pytest.fixture
    def new_context() -> None:
        refuse()

    @pytest.fixture
    def tabs() -> None:
        refuse()


@pytest.fixture
def opened(tabs: Tabs, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Opens pages; afterwards none may have called out or written an error to the console."""
    pages, failed = Opened(tabs), request.session.testsfailed
    yield pages
    assert pages.close(failed=request.session.testsfailed > failed) == []


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery and an index, with hostile names and without."""
    out = tmp_path_factory.mktemp("pages")
    for name, hostile in (("plain", False), ("hostile", True)):
        (out / f"{name}.html").write_text(render(fake_page(hostile)), encoding="utf-8")
        (out / f"{name}-index.html").write_text(render_index(fake_rows(hostile)), encoding="utf-8")
    return out
