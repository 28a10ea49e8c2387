"""A share in words: a little is never nothing, and not quite all is never all, wherever it is written."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import pytest

import vgg_viz
from vgg_viz.number_text import percent


@pytest.mark.parametrize(("share", "text"), [
    (0, "0 %"), (0.0004, "<0.1 %"), (0.0005, "0.1 %"), (0.0234, "2.3 %"), (0.05, "5.0 %"), (0.5, "50 %"), (0.985, "98.5 %"),
    (0.9951, "99.5 %"), (0.9996, "<100 %"), (1, "100 %"), (math.nan, "–"),
    (-0.0004, ">−0.1 %"), (-0.02, "−2.0 %"), (-0.9996, ">−100 %"),
])  # fmt: skip
def test_a_share_never_rounds_to_all_or_nothing(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0 %"),
        (0.0004, "<0.1 %"),
        (0.0234, "2.3 %"),
        (0.5634, "56.3 %"),
        (0.9951, "99.5 %"),
        (0.9996, "<100 %"),
        (1, "100.0 %"),
        (math.nan, "–"),
    ],
)
def test_shares_that_stand_beside_each_other_have_as_many_decimals_and_keep_the_promise(
    share: float, text: str
) -> None:
    assert percent(share, decimals=1) == text


def test_there_is_one_function_for_shares() -> None:
    """The audit had a second one, which wrote 100 % for .9951 and 0 % for .0004."""
    house = Path(vgg_viz.__file__).parent
    found = [
        file.relative_to(house).as_posix()
        for file in house.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and re.fullmatch("_?percent", node.name)
        if ast.unparse(node.returns) == "str"  # `trials_shown._percent` is a number of a table
    ]
    assert found == ["number_text.py"]
