"""`python -m servers`: fetch what is missing, and say where it lies; exit 1 and why when something cannot be had."""

import sys

from servers.cache import Missing
from servers.kafka_broker import kafka_jars
from servers.redis_store import redis_program


def main() -> int:
    failed = False
    for name, get in (("Apache Kafka", kafka_jars), ("Redis", redis_program)):
        try:
            print(f"{name}: {get()}")
        except Missing as missing:
            failed = True
            print(f"{name}: {missing}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
