"""Benchmarks as people read them: plots, tables beside the figures of others, and the report."""
