"""How records enter and move: events, bounded pictures, sources, outboxes and the worker that joins them."""
