"""Keys, limits and settings of the gateway, each by itself."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from pydantic import ValidationError

from ingest.errors import UsageError
from ingest.gateway.config import GatewayConfig
from ingest.gateway.keys import ANONYMOUS, Client, load_keys, parse_keys
from ingest.gateway.limits import InFlight, RateLimits
from ingest.gateway.problems import Code, Problem

KEY = "0123456789abcdef" * 2
HASH = sha256(KEY.encode()).hexdigest()
OTHER = sha256(b"other").hexdigest()


def test_a_keys_file_names_clients_and_their_atms(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# who may send\n\nbranch-7:{HASH}\n  branch-7:{OTHER.upper()}: ATM-7, ATM-8,\n")
    keys = load_keys(path, allow_anonymous=False)
    client = keys.client(f"Bearer {KEY}")
    assert client == Client("branch-7")
    assert client.may_send_for("anything")
    narrow = parse_keys(path.read_text(), "keys")[bytes.fromhex(OTHER)]
    assert narrow == Client("branch-7", ("ATM-7", "ATM-8"))
    assert [narrow.may_send_for(atm) for atm in ("ATM-71", "ATM-8", "ATM-9", "X-ATM-7")] == [True, True, False, False]
    with pytest.raises(Problem):
        keys.client(None)


def test_strangers_are_let_in_where_that_is_said(tmp_path: Path) -> None:
    assert load_keys(None, allow_anonymous=True).client(None) == ANONYMOUS
    (tmp_path / "keys").write_text(f"branch-7:{HASH}")
    keys = load_keys(tmp_path / "keys", allow_anonymous=True)
    assert [keys.client(None), keys.client(f"Bearer {KEY}")] == [ANONYMOUS, Client("branch-7")]
    with pytest.raises(UsageError, match="KEYS_FILE"):
        load_keys(None, allow_anonymous=False)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no bytes"),
        (b"# nobody\n", "holds no keys"),
        (b"branch-7\n", ":1: not client:hash"),
        (b"\nbranch 7:" + HASH.encode(), ":2: not client:hash"),
        (b"branch-7:" + HASH[:-1].encode(), ":1: not client:hash"),
        (b"branch-7:" + KEY.encode(), ":1: not client:hash"),
        (f"a:{HASH}\nb:{HASH.upper()}".encode(), ":2: the key is there twice"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "larger than"),
    ],
)
def test_a_wrong_keys_file_is_refused_without_its_content(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=told) as error:
        load_keys(path, allow_anonymous=False)
    assert KEY not in str(error.value)
    assert HASH not in str(error.value)


def test_a_keys_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        load_keys(tmp_path / "none", allow_anonymous=True)


def test_a_bucket_fills_with_time_up_to_its_burst() -> None:
    now = [0.0]
    limits = RateLimits(2.0, 3, lambda: now[0])

    def taken() -> int:
        for count in range(100):
            try:
                limits.take("a")
            except Problem:
                return count
        return 100

    assert taken() == 3
    now[0] += 1.0
    assert taken() == 2
    now[0] += 1000.0
    assert taken() == 3
    with pytest.raises(Problem) as refused:
        limits.take("a")
    assert refused.value.code is Code.RATE_LIMITED
    assert refused.value.headers == {"Retry-After": "1"}
    limits.take("b")


def test_slots_hold_what_they_were_given_until_they_are_left() -> None:
    flight = InFlight(2, 100)
    first, second = flight.enter(), flight.enter()
    with pytest.raises(Problem, match="overloaded"):
        flight.enter()
    first.hold(60)
    first.hold(50)
    with pytest.raises(Problem, match="overloaded"):
        second.hold(41)
    second.hold(40)
    assert (flight.requests, flight.bytes) == (2, 100)
    first.lend()
    first.release()
    assert (flight.requests, flight.bytes) == (2, 100)
    second.release()
    second.leave()
    first.leave()
    first.hold(60)
    assert (flight.requests, flight.bytes) == (0, 0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"max_in_flight_bytes": 64 * 1024}, "must hold a body"),
        ({"tls_certfile": Path("a")}, "go together"),
        ({"port": 70_000}, "port"),
        ({"rate_per_s": 0}, "rate_per_s"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        GatewayConfig.model_validate(wrong)


def test_a_gateway_lets_nobody_in_until_told_to() -> None:
    assert not GatewayConfig().lets_in
    assert GatewayConfig(allow_anonymous=True).lets_in
    assert GatewayConfig(keys_file=Path("keys")).lets_in
