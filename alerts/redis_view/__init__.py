"""The view in Redis, where dashboards of any make can read it: the only package that knows a Redis client."""

from alerts.redis_view.link import Client, connect, ping
from alerts.redis_view.store import RedisDraft, RedisOptions, RedisView

__all__ = ["Client", "RedisDraft", "RedisOptions", "RedisView", "connect", "ping"]
