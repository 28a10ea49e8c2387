"""What galleries show: one folder a kind, one file a section."""
