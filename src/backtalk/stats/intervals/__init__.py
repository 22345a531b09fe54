"""Confidence intervals and confidence sequences for means and proportions."""
