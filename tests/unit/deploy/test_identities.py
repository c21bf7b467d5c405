from __future__ import annotations

import errno
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_sample import CARD, DAY, event, sighting, usage

from deploy.identities import (
    FolderOptions,
    PictureMode,
    remove_identities,
    safe_name,
    write_identities,
)
from ingest.errors import BadRecord
from ingest.reasons import Reason

JPEG = b"\xff\xd8\xff\xe0 a picture"
PNG = b"\x89PNG\r\n\x1a\n another"


def of(*events, person: int = 1):
    return [sighting(e, person, visits=n + 1) for n, e in enumerate(events)]


def pictures(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != "identity.json")


def test_copies_are_named_by_time_atm_and_event(tmp_path: Path) -> None:
    seen = of(event(1), event(2, DAY + timedelta(minutes=1), atm="atm 2/é"))
    content = {"event-00001": JPEG, "event-00002": PNG}
    done = write_identities(tmp_path, [usage(1, 2)], seen, lambda e: content[e.event_id])
    assert (done.identities, done.copied, done.lost) == (1, 2, 0)
    first, second = pictures(tmp_path / "person-1")
    assert first.startswith("20260314T060000Z_atm-01_")
    assert first.endswith(".jpg")
    assert second.startswith("20260314T060100Z_atm_2__-")
    assert second.endswith(".png")
    assert (tmp_path / "person-1" / first).read_bytes() == JPEG
    assert stat.S_IMODE((tmp_path / "person-1" / first).stat().st_mode) == 0o600


def test_the_description_holds_usage_and_pictures_but_no_card(tmp_path: Path) -> None:
    late = event(1, DAY + timedelta(hours=1), card_token=CARD)
    write_identities(tmp_path, [usage(1, 2)], of(late, event(2)), lambda _: JPEG)
    text = (tmp_path / "person-1" / "identity.json").read_text()
    found = json.loads(text)
    assert found["usage"]["visits"] == 2
    assert [line["event_id"] for line in found["sightings"]] == ["event-00002", "event-00001"]
    assert found["sightings"][0]["captured_at"] == "2026-03-14T06:00:00Z"
    assert (tmp_path / "person-1" / found["sightings"][0]["file"]).is_file()
    assert CARD not in text
    assert "vector" not in text


def test_a_second_run_fetches_nothing_and_changes_nothing(tmp_path: Path) -> None:
    seen = of(event(1), event(2))
    write_identities(tmp_path, [usage(1, 2)], seen, lambda _: JPEG)
    (tmp_path / "person-1" / ".20260314T060000Z_atm-01_00000000.jpg.part").write_bytes(b"half")
    before = {p.name: p.read_bytes() for p in (tmp_path / "person-1").iterdir()}

    def never(_):
        raise AssertionError

    done = write_identities(tmp_path, [usage(1, 2)], seen, never)
    assert (done.kept, done.copied) == (2, 0)
    assert {p.name: p.read_bytes() for p in (tmp_path / "person-1").iterdir()} == before


def test_a_crash_between_pictures_is_made_good(tmp_path: Path) -> None:
    seen = of(event(1), event(2), event(3))

    def dies(e):
        if e.event_id == "event-00003":
            raise KeyboardInterrupt
        return JPEG

    with pytest.raises(KeyboardInterrupt):
        write_identities(tmp_path, [usage(1, 3)], seen, dies)
    done = write_identities(tmp_path, [usage(1, 3)], seen, lambda _: JPEG)
    assert (done.kept, done.copied) == (2, 1)


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (BadRecord(Reason.UNREADABLE, "It is gone."), "unreadable: It is gone."),
        (FileNotFoundError(errno.ENOENT, "secret path"), os.strerror(errno.ENOENT)),
        (OSError("odd"), "odd"),
    ],
)
def test_a_vanished_picture_is_reported_and_the_rest_written(tmp_path: Path, error, detail) -> None:
    def fetch(e):
        if e.event_id == "event-00001":
            raise error
        return JPEG

    done = write_identities(tmp_path, [usage(1, 2)], of(event(1), event(2)), fetch)
    assert (done.copied, done.lost) == (1, 1)
    assert done.missing[0].event_id == "event-00001"
    assert done.missing[0].detail == detail
    lines = json.loads((tmp_path / "person-1" / "identity.json").read_text())["sightings"]
    assert [line["file"] is None for line in lines] == [True, False]


def test_identities_that_are_not_listed_are_passed_over(tmp_path: Path) -> None:
    write_identities(tmp_path, [usage(1, 1)], of(event(1)) + of(event(2), person=2), lambda _: JPEG)
    assert [p.name for p in tmp_path.iterdir()] == ["person-1"]


def test_without_pictures_only_the_description_is_written(tmp_path: Path) -> None:
    options = FolderOptions(mode=PictureMode.NONE)
    done = write_identities(tmp_path, [usage(1, 1)], of(event(1)), lambda _: JPEG, options)
    assert (done.copied, done.linked) == (0, 0)
    assert pictures(tmp_path / "person-1") == []


def test_links_share_the_file_whatever_it_is_called(tmp_path: Path) -> None:
    original = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe<script>.jpg"))
    original.write_bytes(PNG)
    alias = tmp_path / "alias.jpg"
    alias.symlink_to(original)
    options = FolderOptions(mode=PictureMode.LINK, locate=lambda _: alias)
    done = write_identities(tmp_path / "out", [usage(1, 1)], of(event(1)), lambda _: JPEG, options)
    assert (done.linked, done.copied) == (1, 0)
    (name,) = pictures(tmp_path / "out" / "person-1")
    assert name.endswith(".png")
    assert (tmp_path / "out" / "person-1" / name).samefile(original)
    again = write_identities(tmp_path / "out", [usage(1, 1)], of(event(1)), lambda _: JPEG, options)
    assert again.kept == 1


@pytest.mark.parametrize("where", [None, "loop", "gone"])
def test_what_can_not_be_linked_is_copied(tmp_path: Path, where: str | None) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    options = FolderOptions(mode=PictureMode.LINK, locate=lambda _: where and tmp_path / where)
    done = write_identities(tmp_path / "out", [usage(1, 1)], of(event(1)), lambda _: JPEG, options)
    assert (done.linked, done.copied) == (0, 1)


def test_links_without_a_locator_are_copies(tmp_path: Path) -> None:
    options = FolderOptions(mode=PictureMode.LINK)
    assert write_identities(tmp_path, [usage(1, 1)], of(event(1)), lambda _: JPEG, options).copied == 1


def test_a_fresh_start_removes_our_strays_and_nothing_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "identity.json").write_text("keep")
    folder = tmp_path / "identities"
    write_identities(folder, [usage(1, 1), usage(2, 1)], of(event(1)) + of(event(2), person=2), lambda _: JPEG)
    (folder / "person-2" / "holiday.jpg").write_bytes(b"mine")
    (folder / "person-1" / ".identity.json.part").write_text("half")
    (folder / "link").symlink_to(outside)
    (folder / "notes.txt").write_text("mine")
    done = write_identities(folder, [usage(3, 0)], [], lambda _: JPEG, FolderOptions(fresh=True))
    assert done.identities == 1
    assert sorted(p.name for p in folder.iterdir()) == ["link", "notes.txt", "person-2", "person-3"]
    assert pictures(folder / "person-2") == ["holiday.jpg"]
    assert (outside / "identity.json").read_text() == "keep"


def test_a_folder_that_can_not_be_removed_is_an_error(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "person-1").mkdir()

    def refuse(_):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(Path, "rmdir", refuse)
    with pytest.raises(PermissionError):
        remove_identities(tmp_path)


def test_a_hostile_identity_stays_inside(tmp_path: Path) -> None:
    seen = [sighting(event(1), 1, identity_id="../../etc")]
    write_identities(tmp_path / "out", [usage(1, 1, identity_id="../../etc")], seen, lambda _: b"?")
    (place,) = (tmp_path / "out").iterdir()
    assert place.name.startswith("_.._etc-")
    assert pictures(place)[0].endswith(".img")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_clock_of_the_year_one_still_gives_a_name_of_ours(tmp_path: Path) -> None:
    write_identities(tmp_path, [usage(1, 1)], of(event(1, datetime(1, 1, 1, tzinfo=UTC))), lambda _: JPEG)
    assert pictures(tmp_path / "person-1")[0].startswith("00010101T000000Z_")
    remove_identities(tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=200), st.text(max_size=200))
def test_safe_names_are_safe_and_tell_texts_apart(one: str, other: str) -> None:
    for name in (safe_name(one), safe_name(one, 20)):
        assert 0 < len(name) <= 80
        assert not name.startswith(".")
        assert set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-")
    assert (safe_name(one) == safe_name(other)) == (one == other)
