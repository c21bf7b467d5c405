"""Why an event was not counted: stable codes that files, dead letters, metrics and rules share."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A code is never renamed or reused.  The sentence beside it explains it to an analyst."""

    # The file or body
    EMPTY_FILE = "empty_file", "The file has no bytes."
    NOT_AN_IMAGE = "not_an_image", "The bytes are not a picture of a supported format."
    TRUNCATED_IMAGE = "truncated_image", "The picture ends before it is complete, or its data is damaged."
    TOO_MANY_BYTES = "too_many_bytes", "The file is larger than the limit."
    TOO_MANY_PIXELS = "too_many_pixels", "The picture would decode to more pixels than the limit."
    ANIMATED_IMAGE = "animated_image", "The picture is an animation; send one still picture per event."
    UNREADABLE = "unreadable", "The file or folder can't be read."
    SYMLINK_LOOP = "symlink_loop", "The link leads back to itself."
    OUTSIDE_ROOT = "outside_root", "The picture lies outside of the folders that may be read."
    CHECKSUM_MISMATCH = "checksum_mismatch", "The picture is not the one that the event names by its sha256."
    UNFETCHABLE = "unfetchable", "The picture's store failed to give it for a long time, and was not down."
    BAD_VIDEO = "bad_video", "The video can't be opened, or a frame of it can't be read."

    # The record
    BAD_RECORD = "bad_record", "The record does not fit its schema."
    BAD_ROW = "bad_row", "The manifest row can't be read."
    DUPLICATE_EVENT = "duplicate_event", "An event of this id was seen before; it is counted once."
    CAPTURED_AT_MISSING = "captured_at_missing", "The row does not say when the picture was taken."
    CAPTURED_AT_NAIVE = "captured_at_naive", "The time has no zone; add one, or give --timezone."
    CAPTURED_AT_IN_FUTURE = "captured_at_in_future", "The time lies in the future; check the terminal's clock."
    RAW_CARD_NUMBER = "raw_card_number", "A field or file name holds a card number; send a token instead."
    UNKNOWN_SCOPE = "unknown_scope", "The event names a scope that is not configured."
    CASH_SLOT_CAMERA = "cash_slot_camera", "The camera looks at the cash slot, not at a person."
    MODEL_MISMATCH = "model_mismatch", "The template comes from another model than this roster's."

    # The picture's content
    NO_FACE = "no_face", "No face was found."
    FACE_TOO_SMALL = "face_too_small", "The largest face is too small to be compared."
    BLURRED = "blurred", "The eye region is too blurred to be compared."
    CAMERA_OBSCURED = "camera_obscured", "The camera is covered, dark or blinded: hardly any detail is left."
    TOO_MANY_FACES = "too_many_faces", "There are too many faces to tell who uses the machine."
    EXTREME_POSE = "extreme_pose", "The head is turned so far that an eye can't be seen."

    sentence: str

    def __new__(cls, code: str, sentence: str = "") -> Reason:
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member


UNUSABLE = frozenset(
    {
        Reason.NO_FACE,
        Reason.FACE_TOO_SMALL,
        Reason.BLURRED,
        Reason.CAMERA_OBSCURED,
        Reason.TOO_MANY_FACES,
        Reason.EXTREME_POSE,
    }
)
"""Pictures that are in order as files but show no face that can be compared: an outcome, counted per ATM."""
