"""The shipped models: one folder each with weights, card and licence."""
