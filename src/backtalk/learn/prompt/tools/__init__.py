"""Documentation of tools, rewritten by trial and error."""
