"""`python -m vgg_viz`: the command line."""

import signal
import sys

from vgg_viz.cli import main

# A scheduler or `timeout` ends a run with SIGTERM; as an exit it lets half-made folders be removed, as Ctrl-C does.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

sys.exit(main())
