"""A live network: any nn.Module, read as a chain by running it once."""
