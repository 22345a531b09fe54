"""Online learning: sample, collect feedback, learn, repeat."""
