"""Where a network looks, on one page."""
