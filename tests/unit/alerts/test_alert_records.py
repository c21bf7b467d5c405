"""What an alert may say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from alerts.records import Alert

FIELDS: dict[str, Any] = {
    "alert_id": "a1",
    "rule_id": "R1",
    "title": "Often seen",
    "severity": "high",
    "subject": "p1",
    "episode": 1,
    "raised_at": datetime(2024, 3, 4, 12, tzinfo=UTC),
    "window_start": datetime(2024, 3, 4, 11, tzinfo=UTC),
    "measured": {"visits_1h": 3.0},
    "limits": {"visits_1h": 3.0},
    "confidence": 0.9,
    "evidence": (),
    "position": {"offset": 0},
}


@pytest.mark.parametrize("field", ["measured", "limits"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_figures_are_finite(field: str, value: float) -> None:
    assert Alert.model_validate(FIELDS).measured == {"visits_1h": 3.0}
    with pytest.raises(ValidationError, match="finite number"):
        Alert.model_validate(FIELDS | {field: {"visits_1h": value}})
