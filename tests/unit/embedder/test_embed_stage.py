"""The embedder as a stage: order, pass-through, rejections, no pixels in what goes on, any number of threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from embedder.embed import Embedder, Probe
from embedder.records import FaceEmbedding
from embedder.stage import EmbedOptions, EmbedStage
from ingest.claim_check import fetch, file_uri
from ingest.errors import BadRecord, ErrorAnswer
from ingest.limits import ImageLimits
from ingest.reasons import Reason
from ingest.records import AtmEvent, Position, Record, Rejection
from ingest.stage import Delivery

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def pictures(portraits: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Small portraits as JPEG."""
    small = {name: cv2.resize(image, None, fx=0.5, fy=0.5) for name, image in portraits.items()}
    return {name: cv2.imencode(".jpg", image)[1].tobytes() for name, image in small.items()}


@pytest.fixture(scope="module")
def stage(embedder: Embedder) -> Iterator[EmbedStage]:
    made = EmbedStage(embedder, EmbedOptions(threads=3))
    yield made
    made.close()


def event(name: str, image: bytes | None = None, card: str | None = None, **more: str) -> AtmEvent:
    return AtmEvent.model_validate(
        {
            "event_id": name,
            "atm_id": "a1",
            "captured_at": NOON,
            "image": image,
            "scope": "north",
            "card_token": card,
            **more,
        }
    )


def sent(*records: Record) -> list[Delivery]:
    return [Delivery(record, Position(partition="p", offset=10 + i)) for i, record in enumerate(records)]


def only(stage: EmbedStage, record: Record) -> Record:
    (delivery,) = stage.process(sent(record))
    return delivery.record


def test_an_event_becomes_an_embedding(stage: EmbedStage, embedder: Embedder, pictures: dict[str, bytes]) -> None:
    given = event("e1", pictures["person_a_1"], session_id="s", card="t")
    found = only(stage, given)
    assert isinstance(found, FaceEmbedding)
    assert found.face_id == "e1#0"
    assert found.event == given.model_copy(update={"image": None})
    assert found.model_id == embedder.model.card.model_id
    probe = embedder.embed(np.asarray(cv2.imdecode(np.frombuffer(pictures["person_a_1"], np.uint8), 1), np.uint8))
    assert found.vector == probe.vector.tobytes()
    np.testing.assert_array_equal(found.template, probe.vector)
    assert found.quality == probe.quality
    np.testing.assert_allclose(found.landmarks, probe.face.landmarks, atol=0.005)
    box = (found.box.x, found.box.y, found.box.width, found.box.height)
    np.testing.assert_allclose(box, probe.face.box, atol=0.051)
    assert FaceEmbedding.model_validate_json(found.to_json()) == found


def test_no_pixels_go_on(stage: EmbedStage, pictures: dict[str, bytes]) -> None:
    given = event("e1", pictures["person_c_1"])
    found = only(stage, given)
    assert isinstance(found, FaceEmbedding)
    assert found.event.image is None
    assert '"image":' not in found.to_json()
    assert len(found.to_json()) < 2500 < len(pictures["person_c_1"])
    assert "vector" not in repr(found)
    assert given.image is not None


def test_a_picture_may_lie_in_a_file(stage: EmbedStage, pictures: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "person.jpg"
    path.write_bytes(pictures["person_b_1"])
    digest = sha256(pictures["person_b_1"]).hexdigest()
    by_file = only(stage, event("e1", image_uri=file_uri(path), sha256=digest))
    inline = only(stage, event("e1", pictures["person_b_1"]))
    assert isinstance(by_file, FaceEmbedding)
    assert isinstance(inline, FaceEmbedding)
    assert by_file.vector == inline.vector


def test_what_can_not_be_used_is_rejected_in_its_place(
    stage: EmbedStage, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    dark = cv2.imencode(".png", np.zeros((90, 90, 3), np.uint8))[1].tobytes()
    gone = file_uri(tmp_path / "gone.jpg")
    batch = sent(
        event("ok", pictures["person_a_1"]),
        event("text", b"no picture"),
        event("dark", dark),
        event("gone", image_uri=gone),
        event("bare"),
        event("ok2", pictures["person_a_2"]),
    )
    found = stage.process(batch)
    assert [delivery.position for delivery in found] == [delivery.position for delivery in batch]
    reasons = [d.record.reason if isinstance(d.record, Rejection) else None for d in found]
    assert reasons == [
        None,
        Reason.NOT_AN_IMAGE,
        Reason.CAMERA_OBSCURED,
        Reason.UNREADABLE,
        Reason.BAD_RECORD,
        None,
    ]
    rejection = found[3].record
    assert isinstance(rejection, Rejection)
    assert rejection.model_dump(exclude={"detail", "schema_version"}) == {
        "reason": Reason.UNREADABLE,
        "source": gone,
        "stage": "embedder",
        "event_id": "gone",
        "atm_id": "a1",
        "scope": "north",
        "captured_at": NOON,
        "position": {"schema_version": 1, "partition": "p", "offset": 13},
    }


def test_records_of_others_pass_through(stage: EmbedStage, pictures: dict[str, bytes]) -> None:
    foreign = Rejection(reason=Reason.EMPTY_FILE, source="x", detail="Empty.", stage="folder")
    batch = sent(foreign, event("e", pictures["person_a_1"]), foreign)
    found = stage.process(batch)
    assert found[0] is batch[0]
    assert found[2] is batch[2]
    assert stage.process([]) == []


def test_the_longest_event_id_is_no_error(stage: EmbedStage, pictures: dict[str, bytes]) -> None:
    found = only(stage, event("e" * 200, pictures["person_a_1"]))
    assert isinstance(found, FaceEmbedding)
    assert found.face_id == "e" * 200 + "#0"


def test_limits_and_roots_are_kept(embedder: Embedder, pictures: dict[str, bytes], tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "p.jpg").write_bytes(pictures["person_a_1"])
    stage = EmbedStage(embedder, EmbedOptions(threads=1, limits=ImageLimits(max_pixels=1000)))
    narrow = EmbedStage(embedder, EmbedOptions(threads=1, fetch=partial(fetch, roots=(inside,))))
    try:
        small = only(stage, event("e", pictures["person_a_1"]))
        far = only(narrow, event("e", image_uri=file_uri(outside / "p.jpg")))
        assert isinstance(small, Rejection)
        assert isinstance(far, Rejection)
        assert (small.reason, far.reason) == (Reason.TOO_MANY_PIXELS, Reason.OUTSIDE_ROOT)
        assert isinstance(only(narrow, event("e", image_uri=file_uri(inside / "p.jpg"))), FaceEmbedding)
    finally:
        stage.close()
        narrow.close()


def test_several_threads_give_the_bytes_of_one(embedder: Embedder, pictures: dict[str, bytes]) -> None:
    batch = sent(*(event(f"{turn}-{name}", content) for turn in range(3) for name, content in pictures.items()))
    outputs = []
    for threads in (1, 4):
        stage = EmbedStage(embedder, EmbedOptions(threads))
        assert stage.threads == threads
        outputs.append([delivery.record.to_json() for delivery in stage.process(batch)])
        stage.close()
    assert outputs[0] == outputs[1]


def test_threads_default_to_the_cores_that_it_may_use(embedder: Embedder) -> None:
    stage = EmbedStage(embedder)
    assert stage.threads >= 1
    assert stage.name == "embedder"
    stage.close()
    with pytest.raises(RuntimeError):
        stage.process(sent(event("e", b"x")))


def test_a_defect_ends_the_stage_and_is_not_taken_for_a_bad_picture(
    embedder: Embedder, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Embedder, image: np.ndarray) -> Probe:
        raise ZeroDivisionError

    def refusing(_: Embedder, image: np.ndarray) -> Probe:
        raise BadRecord(Reason.BLURRED, "Soft.")

    batch: Sequence[Delivery] = sent(event("e", pictures["person_a_1"]))
    stage = EmbedStage(embedder, EmbedOptions(threads=1))
    monkeypatch.setattr(Embedder, "embed", refusing)
    rejection = stage.process(batch)[0].record
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.detail, rejection.source) == (Reason.BLURRED, "Soft.", "e")
    monkeypatch.setattr(Embedder, "embed", broken)
    with pytest.raises(ZeroDivisionError):
        stage.process(batch)
    stage.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_pictures_that_fail_are_waited_for_side_by_side(
    embedder: Embedder, pictures: dict[str, bytes], threads: int
) -> None:
    tried: list[str] = []
    what = "the store"

    def from_store(of: AtmEvent) -> bytes:
        tried.append(of.event_id)
        if of.event_id.startswith("bad"):
            raise ErrorAnswer(what, float(of.event_id.removeprefix("bad-")))
        return pictures["person_a_1"]

    stage = EmbedStage(embedder, EmbedOptions(threads, fetch=from_store))
    batch = sent(event("bad-2"), event("fine"), event("bad-7"), event("bad-1"))
    with pytest.raises(ErrorAnswer) as caught:
        stage.process(batch)
    assert caught.value.retry_after == 7
    assert sorted(tried) == ["bad-1", "bad-2", "bad-7", "fine"]
    stage.close()


def test_what_was_foreseen_gives_the_same_and_is_done_once(embedder: Embedder, pictures: dict[str, bytes]) -> None:
    fetched: list[str] = []

    def watched(record: AtmEvent) -> bytes:
        fetched.append(record.event_id)
        return fetch(record, limits=ImageLimits())

    plain = EmbedStage(embedder, EmbedOptions(threads=2))
    ahead = EmbedStage(embedder, EmbedOptions(threads=2, fetch=watched))
    image = next(iter(pictures.values()))
    batches = [sent(event(f"e{n}", image), event(f"f{n}", b"no picture")) for n in range(3)]
    try:
        ahead.foresee(batches[0])
        for batch, following in zip(batches, [*batches[1:], None], strict=True):
            if following is not None:
                ahead.foresee(following)
            assert ahead.process(batch) == plain.process(batch)
        assert sorted(fetched) == ["e0", "e1", "e2", "f0", "f1", "f2"]
    finally:
        plain.close()
        ahead.close()


def test_a_foreseen_picture_that_failed_is_fetched_again(embedder: Embedder, pictures: dict[str, bytes]) -> None:
    """And those that earlier stages took out of the batch are no hindrance."""
    tries: list[str] = []

    def failing_once(record: AtmEvent) -> bytes:
        tries.append(record.event_id)
        if tries.count(record.event_id) == 1 and record.event_id == "e1":
            what = "the store"
            raise ErrorAnswer(what, 0.0)
        return fetch(record, limits=ImageLimits())

    stage = EmbedStage(embedder, EmbedOptions(threads=2, fetch=failing_once))
    image = next(iter(pictures.values()))
    first, second = sent(event("e0", image), event("e1", image)), sent(*[event("e2", image)] * 3)[2:]
    try:
        stage.foresee(first)
        stage.foresee(second)
        with pytest.raises(ErrorAnswer):
            stage.process(first)
        assert [type(outcome.record) for outcome in stage.process(first)] == [FaceEmbedding] * 2
        refused = Rejection(
            reason=Reason.UNKNOWN_SCOPE, source="s", detail="d", stage="admission", position=second[0].position
        )
        assert stage.process([Delivery(refused, second[0].position)])[0].record is refused
        assert [type(outcome.record) for outcome in stage.process(second)] == [FaceEmbedding]
    finally:
        stage.close()


def test_a_foreseen_record_that_comes_twice_keeps_both_places(embedder: Embedder, pictures: dict[str, bytes]) -> None:
    stage = EmbedStage(embedder, EmbedOptions(threads=2))
    once = event("e0", next(iter(pictures.values())))
    batch = sent(once, once)
    try:
        stage.foresee(batch)
        assert [outcome.position for outcome in stage.process(batch)] == [delivery.position for delivery in batch]
    finally:
        stage.close()
