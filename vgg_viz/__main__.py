"""`python -m vgg_viz`: the command line."""

import sys

from vgg_viz.cli import main

sys.exit(main())
