"""Which URIs may be fetched: everything that could be read in two ways is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.allow_list import AllowList, may_connect
from ingest.errors import BadRecord, UsageError
from ingest.reasons import Reason

ROOTS = ("https://pictures.bank.example/atm", "http://10.0.0.5:9000/pics/", "s3://atm-pictures/2024", "https://[::1]/")
ALLOWED = AllowList(ROOTS)


@pytest.mark.parametrize(
    ("uri", "normal"),
    [
        ("https://pictures.bank.example/atm/1.jpg", "https://pictures.bank.example/atm/1.jpg"),
        ("HTTPS://Pictures.BANK.example.:443/atm/1.jpg", "https://pictures.bank.example/atm/1.jpg"),
        ("https://pictures.bank.example/%61tm/1.jpg?sig=a%2Fb", "https://pictures.bank.example/%61tm/1.jpg?sig=a%2Fb"),
        ("https://pictures.bank.example/atm/a%20b/..c/100%25.jpg", None),
        ("http://10.0.0.5:9000/pics/a;v=1/b.jpg", None),
        ("https://[0:0::1]/x", "https://[::1]/x"),
        ("s3://atm-pictures/2024/05/%C3%BC.jpg", None),
    ],
)
def test_what_lies_below_a_root_is_allowed(uri: str, normal: str | None) -> None:
    assert ALLOWED.place(uri).uri == (normal or uri)


def test_keys_are_decoded_once() -> None:
    assert ALLOWED.place("s3://atm-pictures/2024/%C3%BC%2520.jpg").path == "/2024/ü%20.jpg"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "1.jpg",
        "//pictures.bank.example/atm/1.jpg",
        "https:pictures.bank.example/atm/1.jpg",
        "https:///atm/1.jpg",
        "https://pictures.bank.example/atm",
        "https://pictures.bank.example/atm/",
        "https://pictures.bank.example/atmosphere/1.jpg",
        "https://pictures.bank.example/other/1.jpg",
        "https://pictures.bank.example/atm//../1.jpg",
        "https://pictures.bank.example/atm/../secret",
        "https://pictures.bank.example/atm/./1.jpg",
        "https://pictures.bank.example/atm/%2e%2e/secret",
        "https://pictures.bank.example/atm/.%2E/secret",
        "https://pictures.bank.example/atm/%252e%252e/secret",
        "https://pictures.bank.example/atm/%25252e%25252e/secret",
        "https://pictures.bank.example/atm/%2525252525252541",
        "https://pictures.bank.example/atm/..;/secret",
        "https://pictures.bank.example/atm/..;a=b/secret",
        "https://pictures.bank.example/atm/..%2fsecret",
        "https://pictures.bank.example/atm/..%252Fsecret",
        "https://pictures.bank.example/atm/..%5csecret",
        "https://pictures.bank.example/atm/..\\secret",
        "https://pictures.bank.example/atm/1.jpg%00.png",
        "https://pictures.bank.example/atm/1%0d%0aHost:x",
        "https://pictures.bank.example/atm/1%zz.jpg",
        "https://pictures.bank.example/atm/%ff.jpg",
        "https://pictures.bank.example/atm/1.jpg#t=1",
        "https://pictures.bank.example/atm/ü.jpg",
        "https://pictures.bank.example/atm/1 2.jpg",
        "https://pictures.bank.example/atm/1.jpg\n",
        "https://pictures.bank.example/atm/" + "x" * 5000,
        "https://user@pictures.bank.example/atm/1.jpg",
        "https://pictures.bank.example@evil.example/atm/1.jpg",
        "https://evil.example\\@pictures.bank.example/atm/1.jpg",
        "https://pictures.bank.example:444/atm/1.jpg",
        "https://pictures.bank.example:0/atm/1.jpg",
        "https://pictures.bank.example:99999/atm/1.jpg",
        "https://pictures.bank.example:/atm/1.jpg",
        "https://pictures.bank.example.evil.example/atm/1.jpg",
        "https://pictures%2ebank.example/atm/1.jpg",
        "https://pictures..bank.example/atm/1.jpg",
        "http://pictures.bank.example/atm/1.jpg",
        "http://10.5:9000/pics/1.jpg",
        "http://0x0a.0.0.5:9000/pics/1.jpg",
        "http://167772165:9000/pics/1.jpg",
        "http://169.254.169.254/latest/meta-data",
        "https://[::1%25eth0]/x",
        "https://[:::1]/x",
        "s3://atm-pictures/2024/../2023/1.jpg",
        "s3://atm-pictures/2024/1.jpg?versionId=3",
        "s3://atm-pictures:9000/2024/1.jpg",
        "s3://[::1]/2024/1.jpg",
        "s3://other/2024/1.jpg",
        "file:///etc/passwd",
        "ftp://pictures.bank.example/atm/1.jpg",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "memory://atm-pictures/2024/1.jpg",
        "data:image/png;base64,AAAA",
    ],
)
def test_everything_else_is_refused(uri: str) -> None:
    with pytest.raises(BadRecord) as caught:
        ALLOWED.place(uri)
    assert caught.value.reason is Reason.OUTSIDE_ROOT
    assert "secret" not in str(caught.value)


@given(st.text(st.sampled_from("/.%;2eE5cf?#@:a\\ "), max_size=30))
@example("/atm/.%2e%2f")
def test_no_path_escapes_its_root(rest: str) -> None:
    try:
        place = ALLOWED.place("https://pictures.bank.example/atm/" + rest)
    except BadRecord:
        return
    assert place.host == "pictures.bank.example"
    assert place.path.startswith("/atm/")
    assert not {".", ".."} & set(place.path.replace("\\", "/").split("/"))


@pytest.mark.parametrize(
    "root",
    ["", "pictures.bank.example", "ftp://a/b", "https://u:hunter2@a/b", "https://a/b?c", "https://a/../b", "s3://"],
)
def test_a_root_that_is_none_is_a_wrong_setting(root: str) -> None:
    with pytest.raises(UsageError, match="root 2") as caught:
        AllowList(["https://a/", root])
    assert "hunter2" not in str(caught.value)


def test_without_roots_nothing_is_allowed() -> None:
    assert AllowList([]).schemes == frozenset()
    with pytest.raises(BadRecord):
        AllowList([]).place("https://pictures.bank.example/atm/1.jpg")


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14"])
def test_names_may_lead_to_public_addresses(address: str) -> None:
    assert may_connect(address, private=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::a00:1",
    ],
)
def test_names_lead_to_private_addresses_only_where_that_is_meant(address: str) -> None:
    assert not may_connect(address, private=False)
    assert may_connect(address, private=True)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1%eth0",
        "0.0.0.0",  # noqa: S104
        "::",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_names_never_lead_to_metadata_or_everybody(address: str) -> None:
    assert not may_connect(address, private=True)
