"""The methods, a file a family; each registers what it holds."""
