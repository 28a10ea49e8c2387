"""Arrays in, matplotlib Figure out: the only door of matplotlib and seaborn, and no model ever comes through it."""
