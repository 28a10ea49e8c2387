"""How a gallery comes about: built, written whole, shown; it knows no model and no method."""
