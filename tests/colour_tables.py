"""The colour tables of the browser's code, out of matplotlib: `python tests/colour_tables.py` writes them anew."""

from __future__ import annotations

import matplotlib
import numpy as np

from vgg_viz.gallery.bundle import STATIC

FILE = STATIC / "colours.js"
STEPS_A_LINE = 18
TEMPLATE = """// The two colour maps, 256 steps of RRGGBB each: viridis for what starts at zero, RdBu_r for what has a sign.
// Written by tests/colour_tables.py from matplotlib's; a test compares them.

const VIRIDIS =
{viridis};
const RED_BLUE =
{red_blue};

// Hex text as bytes: r, g, b of step 0, of step 1, ...
function colourTable(hex) {{
  return Uint8Array.from({{ length: hex.length / 2 }}, (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}}

export const TABLES = {{ unsigned: colourTable(VIRIDIS), signed: colourTable(RED_BLUE) }};
"""


def table(name: str) -> str:
    """A colour map of matplotlib as lines of JavaScript: 256 steps of RRGGBB."""
    text = bytes(matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]).hex()
    wide = 6 * STEPS_A_LINE
    return " +\n".join(f'  "{text[i : i + wide]}"' for i in range(0, len(text), wide))


def module() -> str:
    """The whole of `static/colours.js`."""
    return TEMPLATE.format(viridis=table("viridis"), red_blue=table("RdBu_r"))


if __name__ == "__main__":
    FILE.write_text(module(), encoding="utf-8")
