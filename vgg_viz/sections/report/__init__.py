"""The report on a checkpoint, section by section."""
