"""Single units: what they see, and whether they are alive."""
