"""Feedback API."""
