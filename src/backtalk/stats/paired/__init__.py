"""Paired comparisons: Bradley-Terry and Davidson models."""
