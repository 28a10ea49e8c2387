"""Layer-wise relevance propagation: its rules, and the books they keep."""
