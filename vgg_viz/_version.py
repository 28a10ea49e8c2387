"""The version of this package: one line, imported by everything that says by what it was made."""

__version__ = "0.1.0"
