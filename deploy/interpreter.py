"""How Python itself is set up in a role's process: its search for cyclic garbage, and turns of its threads.

Measured with 100,000 templates: as Python comes, a sixth of the clusterer's time went into looking through objects that
are there to stay, and its search waited for its turn half as long as it worked.
"""

from __future__ import annotations

import gc
import sys

YOUNG = 50_000
"""So many new objects that could be garbage are looked through at a time; a batch of inputs makes some 10,000."""
TURN_S = 0.001
"""How long a thread waits for one that computes in Python, when its own work outside of Python is done."""


def prepare() -> None:
    """Once, at the beginning of a process that works off a stream."""
    gc.set_threshold(YOUNG)
    sys.setswitchinterval(TURN_S)


def keep_memory() -> None:
    """After a recovery: leave all there is now out of every later search for garbage."""
    gc.freeze()


def give_up_memory() -> None:
    """Before a recovery: find what is garbage in a memory that was kept, if one was."""
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
