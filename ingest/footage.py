"""The events of a video: one for each frame that is looked at."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from ingest.claim_check import file_uri, unreadable
from ingest.errors import BadRecord, UsageError
from ingest.plan import Described, ScanOptions, described, instant, why_invalid
from ingest.reasons import Reason
from ingest.records import AtmEvent
from ingest.video import frames_of

EARLY_END = BadRecord(Reason.BAD_VIDEO, "The video ends before the length that it announces; the rest is missing.")


def frame_events(
    event: AtmEvent, path: Path, options: ScanOptions, start: datetime | None
) -> tuple[list[Described], BadRecord | None]:
    """``event``, which describes a whole video, as one entry for each frame, and what is wrong with the video.

    ``start`` is the time of the first frame; when it is None, the video is taken to have been recorded until
    its file was last written.  Frames get no session, unless the event has one, so that those of one person
    form a visit by their times.  Raises BadRecord when no frame can be used, UsageError for too many.
    """
    footage = frames_of(path, options.frame_every_s, options.limits)
    if footage.count > options.max_files:
        message = f"{path.name} would give {footage.count:,} frames; the limit is {options.max_files:,} inputs"
        raise UsageError(message)
    try:
        if start is None:
            start = instant(path.stat().st_mtime_ns // 1000) - timedelta(seconds=footage.duration_s)
        end = start + timedelta(seconds=footage.times()[-1])
    except OSError as error:
        raise unreadable(error) from error
    except OverflowError as error:
        raise BadRecord(Reason.CAPTURED_AT_IN_FUTURE, "The file's time makes no sense.") from error
    if end > options.latest:
        detail = f"The video's last frame is of {end:%Y-%m-%d %H:%M:%S} UTC, which lies in the future."
        raise BadRecord(Reason.CAPTURED_AT_IN_FUTURE, detail)
    common = dict(event)
    entries: list[Described] = []
    for at_s in footage.times():
        own = {
            "event_id": f"{event.event_id}-t{at_s:.3f}",
            "captured_at": start + timedelta(seconds=at_s),
            "image_uri": file_uri(path, at_s),
            "sha256": None,
        }
        try:
            entries.append(described(AtmEvent(**{**common, **own})))
        except ValidationError as error:
            raise why_invalid(error, Reason.BAD_RECORD) from error
    return entries, None if footage.complete else EARLY_END
