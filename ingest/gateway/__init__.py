"""The gateway: events over HTTP, for terminals that can't speak Kafka."""
