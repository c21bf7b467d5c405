"""What a role tells of itself in its log: changes, and each once."""

from __future__ import annotations

import structlog
from structlog.testing import LogCapture

from deploy.observe import Changes


def test_attempts_that_fail_alike_are_one_line_until_the_role_is_ready_again() -> None:
    heard = LogCapture()
    log = structlog.wrap_logger(None, processors=[heard], wrapper_class=structlog.stdlib.BoundLogger)
    changes = Changes(log)
    changes.trouble(log.info, "not ready", "restoring")
    for _ in range(3):
        changes.ready()
    for reason in ("reset", "refused", "refused", "refused"):
        changes.trouble(log.info, "not ready", reason)
        changes.trouble(log.warning, "starting over", reason)
    changes.ready()
    changes.trouble(log.info, "not ready", "refused")
    assert [(line["log_level"], line["event"], line.get("reason")) for line in heard.entries] == [
        ("info", "not ready", "restoring"),
        ("info", "ready", None),
        ("info", "not ready", "reset"),
        ("warning", "starting over", "reset"),
        ("info", "not ready", "refused"),
        ("warning", "starting over", "refused"),
        ("info", "ready", None),
        ("info", "not ready", "refused"),
    ]
