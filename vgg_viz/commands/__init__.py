"""The commands, one file each: its words and its thin function."""
