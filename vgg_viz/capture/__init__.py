"""Looking inside a network that is left as it was found."""
