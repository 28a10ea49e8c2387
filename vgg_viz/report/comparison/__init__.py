"""Two checkpoints on the same pictures: what a comparison looks at, and its chapters."""
