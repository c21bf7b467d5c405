"""How much room arrays are given that grow with the roster."""

GROWTH = 1024
"""Lines are made room for so many at a time, at least."""


def more(size: int, wanted: int) -> int:
    """By how many lines an array of ``size`` grows so that it has ``wanted``; by half of itself at least, if at all."""
    return max(wanted - size, size // 2, GROWTH) if wanted > size else 0
