"""Accuracy on pictures of known people, through the production pipeline: the shell around the metrics."""
