"""One run of training looked back on: the same pictures before the network of every kept epoch."""
