"""Proposals that come from the feedback itself: lines, removals, demonstrations, reflection."""
