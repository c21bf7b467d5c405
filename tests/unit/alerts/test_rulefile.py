from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.conditions import Measure
from alerts.fields import Hours, format_duration, parse_duration
from alerts.records import Severity
from alerts.rulefile import MAX_BYTES, load_rules, parse_rules, rules_schema
from alerts.rules import Per
from ingest.errors import UsageError

HEAD = "version: 1\nrules:\n"
RULE = "  - {{id: {id}, title: t, severity: high, per: {per}, cooldown: 1h, when: {when}}}\n"


def rule(when: str, per: str = "identity", id: str = "A") -> str:
    return RULE.format(id=id, per=per, when=when)


def fault(text: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        parse_rules(text if isinstance(text, bytes) else text.encode(), "rules.yaml")
    return str(caught.value)


def test_the_shipped_rules_are_in_order() -> None:
    book = load_rules()
    assert {rule.id for rule in book.rules} == {
        "TRAVEL_GUARD",
        "CARD_BURST",
        "CARD_SPREAD",
        "NIGHT_RETURN",
        "COUNT_ONLY",
        "CARD_TEST",
        "ONE_CARD_MANY_FACES",
        "REVERSAL_REPEAT",
        "DEPOSIT_DRAIN",
        "CREW",
        "CAMERA_OBSCURED",
    }
    assert book.active[0].guards
    rules = {rule.id: rule for rule in book.rules}
    assert rules["CARD_BURST"].needs == {"card_token"}
    assert rules["NIGHT_RETURN"].needs == {"card_token", "zone"}
    assert rules["COUNT_ONLY"].needs == set()
    assert rules["TRAVEL_GUARD"].needs == {"atm_location"}
    assert rules["DEPOSIT_DRAIN"].needs == {"card_token", "transaction_type"}
    assert rules["ONE_CARD_MANY_FACES"].needs == {"card_token"}
    assert (rules["CREW"].needs, book.needs(rules["CREW"])) == (set(), {"card_token"})
    assert [case.severity for case in rules["CARD_BURST"].cases] == [Severity.HIGH, Severity.CRITICAL]
    assert rules["DEPOSIT_DRAIN"].longest == timedelta(days=7)
    assert all(rule.advice and rule.dismissal_codes for rule in book.rules)


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + (HEAD + rule("{any: [{window: 1h30m, amount: 99.5}]}")).encode())
    (found,) = load_rules(path).rules
    assert found.conditions[0].limits == {Measure.AMOUNT: 99.5}
    assert found.conditions[0].labels == {Measure.AMOUNT: "amount_90m"}
    assert found.per is Per.IDENTITY
    with pytest.raises(UsageError, match=r"missing\.yaml: can't be read: No such file"):
        load_rules(tmp_path / "missing.yaml")


def test_the_digest_is_of_what_the_rules_say() -> None:
    one = parse_rules((HEAD + rule("{any: [{window: 60m, visits: 3}]}")).encode())
    same = parse_rules(("# note\n" + HEAD + rule("{any: [{visits: 3, window: 1h}]}")).encode())
    other = parse_rules((HEAD + rule("{any: [{window: 60m, visits: 4}]}")).encode())
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    ("when", "per", "said"),
    [
        ("{any: [{window: -15m, visits: 3}]}", "identity", "rules[0].when.any[0].window: must be positive (line 3)"),
        ("{any: [{window: 0m, visits: 3}]}", "identity", "any[0].window: must be positive"),
        ("{any: [{window: 15, visits: 3}]}", "identity", "any[0].window: must be a number with a unit, such as"),
        ("{any: [{window: [1], visits: 3}]}", "identity", "any[0].window: must be a number with a unit"),
        ("{any: [{window: 93d, visits: 3}]}", "identity", "any[0].window: must be at most 92d"),
        ("{any: [{visits: 3}]}", "identity", "rules[0].when.any[0].window: is missing"),
        ("{all: [{window: 1h, vists: 3}]}", "identity", "all[0].vists: unknown key; did you mean visits?"),
        ("{all: [{window: 1h, zzz: 3}]}", "identity", "unknown key; known here: amount, distinct_atms"),
        ("{any: [{all: [], visits: 3}]}", "identity", "any[0].visits: unknown key; known here: all, severity"),
        ("{any: [{all: []}]}", "identity", "any[0].all: the list should have at least 1 item"),
        ("{some: []}", "identity", "when.some: unknown key; known here: all, any"),
        ("{}", "identity", "when: needs either any or all"),
        ("{any: 3}", "identity", "when.any: should be a list"),
        ("{any: [{window: 1h}]}", "identity", "any[0]: needs a measure: one of visits, distinct_atms"),
        ("{any: [{window: 1h, visits: 0}]}", "identity", "visits: should be greater than or equal to 1"),
        ("{any: [{window: 1h, visits: true}]}", "identity", "visits: should be a valid integer"),
        ("{any: [{window: 1h, amount: .nan}]}", "identity", "amount: should be a finite number"),
        ("{any: [{window: 1h, visits: 2, severity: bad}]}", "identity", "severity: should be 'low', 'medium'"),
        ("{any: [{window: 1h, visits: 2, local_hours: 23}]}", "identity", 'local_hours: must be hours such as "23'),
        ('{any: [{window: 1h, visits: 2, local_hours: "05:00-05:00"}]}', "identity", "must not start and end"),
        ("{any: [{window: 1h, visits: 2, transaction_types: []}]}", "identity", "transaction_types: the list should"),
        (
            "{any: [{window: 1h, distinct_persons: 2}]}",
            "identity",
            "distinct_persons: is always 1 in a rule per identity",
        ),
        ("{any: [{window: 1h, distinct_cards: 2}]}", "card", "distinct_cards: is always 1 in a rule per card"),
        ("{any: [{all: [{window: 1h, distinct_atms: 2}]}]}", "atm", "any[0].all[0].distinct_atms: is always 1"),
        ("{any: [{window: 1h, speed_kmh: 2}]}", "identity_atm", "speed_kmh: can't be told of one machine"),
        ("{any: [{window: 1h, unusable_pictures: 2}]}", "identity", "unusable_pictures: is known of machines alone"),
        ("{any: [{window: 1h, unusable_pictures: 2, visits: 2}]}", "atm", "unusable_pictures: stands alone"),
        ("{any: [{window: 1h, distinct_persons: 2, fired: X}]}", "atm", "any[0].fired: there is no rule X"),
        ("{any: [{window: 1h, distinct_persons: 2, fired: A}]}", "atm", "any[0].fired: A does not tell of a person"),
        ("{any: [{window: 1h, distinct_persons: 2, fired: A}]}", "card", "any[0].fired: is known of machines alone"),
        ("{any: [{window: 1h, visits: 2, fired: A}]}", "atm", "any[0].fired: goes with distinct_persons"),
    ],
)
def test_a_wrong_condition_is_named_with_its_place(when: str, per: str, said: str) -> None:
    assert said in fault(HEAD + rule(when, per))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "rules.yaml: must be a mapping with the keys version and rules"),
        ("- 1", "must be a mapping"),
        ("a: [", "rules.yaml: expected the node content, but found '<stream end>' (line 1)"),
        ("a: 1\n---\nb: 2", "another document"),
        ("version: 1\nversion: 1", "the key 'version' is there twice (line 2)"),
        ("a: &x [1]\nb: *x", "anchors and aliases are not supported (line 1)"),
        ("[" * 5000, "nested too deeply"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: 2024-13-45", "holds a value that YAML can't read"),
        (b"\xff\xfe\xff", "is not UTF-8 text (byte 0)"),
        (b"#" * (MAX_BYTES + 1), "larger than 256 KiB"),
        ("version: 2\nrules: []", "version: should be 1"),
        ("version: 1", "rules: is missing"),
        ("version: 1\nrules: []\nruls: 1", "ruls: unknown key; did you mean rules?"),
        ("version: 1\nrules: []\n4111 1111 1111 1111: 1", "[card number]: unknown key"),
        (
            HEAD + rule("{any: [{window: 1h, visits: 2}]}") * 2,
            "rules[1].id: is taken: rules[0] has it already (line 4)",
        ),
        (HEAD + "  - {id: 5}", "rules[0].id: should be a valid string (line 3)"),
        (HEAD + "  - {id: A, colour: red}", "rules[0].colour: unknown key; known here: advice, cooldown"),
    ],
)
def test_a_wrong_file_is_named_with_its_place(text: str | bytes, said: str) -> None:
    assert said in fault(text)


def test_ten_faults_are_enough() -> None:
    lines = fault(HEAD + "  - {}\n" * 5).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "rules.yaml: and 20 more"


def test_durations_are_read_and_written() -> None:
    for text in ["90s", "15m", "24h", "7d", "90m", "1s", "36h"]:
        assert format_duration(parse_duration(text)) == text
    assert parse_duration("1h30m") == parse_duration("90m") == parse_duration(timedelta(minutes=90))
    assert format_duration(timedelta(hours=1)) == "1h"


def test_hours_may_go_over_midnight() -> None:
    night, day = Hours(23 * 60, 5 * 60), Hours(9 * 60, 17 * 60)
    assert [night.hold(h * 60) for h in (22, 23, 0, 4, 5)] == [False, True, True, True, False]
    assert [day.hold(h * 60) for h in (8, 9, 16, 17)] == [False, True, True, False]
    assert str(night) == "23:00-05:00"


def test_editors_get_a_schema() -> None:
    schema = rules_schema()
    text = json.dumps(schema)
    assert schema["$schema"].endswith("2020-12/schema")
    assert "distinct_cards" in text
    assert "cooldown" in text
