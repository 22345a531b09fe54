"""Annotation tasks, their assignments and annotator statistics."""
