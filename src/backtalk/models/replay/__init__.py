"""Models that replay recorded answers."""
