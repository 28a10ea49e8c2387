"""Pictures with labels: painted by the product or read from folders."""
