"""What galleries look at, computed once; no words, no paint."""
