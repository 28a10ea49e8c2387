"""The gallery: sections, the page around them, and how both reach the disk.

This room is named like the function of the front door, and Python puts an imported room in the place of that name.
So the room itself can be called: `vgg_viz.report(...)` works before and after it was imported.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from vgg_viz.report.gallery import report

        return report(*arguments, **options)


sys.modules[__name__].__class__ = _Room
