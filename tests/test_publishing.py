"""One file to mail, and what is said where it would be too heavy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from vgg_viz.cli import main
from vgg_viz.gallery import write_page as publishing


def test_the_one_file_is_the_result_and_names_no_neighbour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], few_sections: Callable[..., None]
) -> None:
    few_sections(
        "training", "data", "mistakes", "examples", "attention", "evidence"
    )  # figures, tables, a grid, a viewer, a list
    assert main(["report", "--preset", "quick", "--quiet", "--standalone", "--out", str(tmp_path)]) == 0
    file = Path(capsys.readouterr().out.strip())
    assert file == tmp_path / "sample" / "sample-alone.html"
    page = re.sub(r"<script.*?</script>", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    inside = ("#", "data:image/", "data:application/json", "data:text/csv")
    assert [href[:60] for href in re.findall(r'(?:href|src)="([^"]*)"', page) if not href.startswith(inside)] == []


def test_what_cannot_be_mailed_stays_a_folder_and_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    few_sections: Callable[..., None],
) -> None:
    few_sections("mistakes")
    monkeypatch.setattr(publishing, "HEAVY", 300_000)  # the page itself is lighter
    assert main(["report", "--preset", "quick", "--quiet", "--standalone", "--json", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert facts["standalone"] is None
    assert facts["index"] == str(tmp_path / "sample" / "index.html")
    assert "more than the 0.3 MB that can be mailed" in said.err
    assert (tmp_path / "sample" / "index.html").is_file()
    assert list(tmp_path.rglob("*-alone.html")) == []
