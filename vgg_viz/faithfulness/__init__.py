"""Whether maps are to be believed: every method asked the same on this very checkpoint."""
