"""The networks: how they are built, how their layers are called, how they are written down and read back."""
