"""One picture explained on one page."""
