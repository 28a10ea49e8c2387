"""Training: a recipe, a loop worth reading, and what its curves say."""
