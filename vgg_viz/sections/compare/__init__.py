"""Two checkpoints on one page."""
