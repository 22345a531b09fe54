"""The feedback API."""
