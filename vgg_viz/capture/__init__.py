"""Looking inside a network that is left as it was found.

As with `vgg_viz.report`, the room bears the name of a function of the front door, so the room itself can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from vgg_viz.capture.hooks import capture

        return capture(*arguments, **options)


sys.modules[__name__].__class__ = _Room
