"""One run looked back on, epoch by epoch."""
