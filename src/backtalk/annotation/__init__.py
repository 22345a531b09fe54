"""Annotation tasks, their queue, assignments and annotator statistics."""
