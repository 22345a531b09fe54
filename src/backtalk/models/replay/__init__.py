"""Models that replay recorded responses."""
