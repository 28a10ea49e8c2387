"""What libraries say by themselves while a command runs: nothing, for stderr holds our own sentences alone."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Without the warnings and the log lines of libraries; errors are still logged, and `python -W` gets what it asks for."""
    # Figures go to files alone, whatever a shell or a notebook chose; a name that matplotlib does not know would end its import.
    os.environ["MPLBACKEND"] = "agg"
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
