"""Digest authentication: what is accepted, what is stale, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemacolor.stream.rtsp.auth import Credentials, Gate, parse_parameters

from tests.rtsp_peer import digest

URI = "rtsp://h/live"


def gate() -> Gate:
    return Gate(Credentials("ann", "s3cret"), realm="kinemacolor", nonce_seconds=60)


def check(g: Gate, header: str, now: float = 1.0, method: str = "PLAY") -> str:
    return g.check(method, header, now, is_ours=lambda uri: uri.startswith(URI))


@pytest.mark.parametrize("index", [0, 1], ids=["SHA-256", "MD5"])
@pytest.mark.parametrize("qop", [True, False], ids=["RFC 7616", "RFC 2069"])
def test_the_right_password_passes(index: int, qop: bool) -> None:
    g = gate()
    challenge = g.challenges(0.0)[index]
    assert check(g, digest(challenge, "PLAY", URI, "ann", "s3cret", qop=qop)) == "accepted"


def test_the_challenge_that_old_players_take_is_md5() -> None:
    """FFmpeg 5 and live555 take the last Digest challenge, and live555 wants realm, then nonce."""
    last = gate().challenges(0.0)[-1]
    assert "algorithm=MD5" in last
    assert last.startswith('Digest realm="kinemacolor", nonce="')


def test_a_digest_of_the_streams_uri_serves_for_its_tracks() -> None:
    g = gate()
    challenge = g.challenges(0.0)[1]
    assert check(g, digest(challenge, "SETUP", URI, "ann", "s3cret"), method="SETUP") == "accepted"
    other = digest(challenge, "SETUP", "rtsp://h/other", "ann", "s3cret")
    assert check(g, other, method="SETUP") == "refused"


@pytest.mark.parametrize(
    ("user", "password", "method"),
    [("ann", "wrong", "PLAY"), ("bob", "s3cret", "PLAY"), ("ann", "s3cret", "PAUSE"), ("", "", "")],
)
def test_anything_wrong_is_refused(user: str, password: str, method: str) -> None:
    g = gate()
    assert check(g, digest(g.challenges(0.0)[0], method, URI, user, password)) == "refused"


def test_another_name_on_the_right_digest_is_refused() -> None:
    g = gate()
    right = digest(g.challenges(0.0)[0], "PLAY", URI, "ann", "s3cret")
    assert check(g, right.replace('username="ann"', 'username="bob"')) == "refused"
    assert check(g, right) == "accepted"


def test_an_old_nonce_or_another_connections_is_stale_only_with_the_right_password() -> None:
    g = gate()
    challenge = g.challenges(0.0)[0]
    right = digest(challenge, "PLAY", URI, "ann", "s3cret")
    wrong = digest(challenge, "PLAY", URI, "ann", "guess")
    assert check(g, right, now=61.0) == "stale"
    assert check(g, wrong, now=61.0) == "refused"
    assert all(text.endswith(", stale=true") for text in g.challenges(61.0, stale=True))
    assert check(g, right, now=62.0) == "stale"
    assert check(gate(), right) == "stale"


def test_an_answer_without_a_challenge_is_not_accepted() -> None:
    nothing = 'Digest realm="kinemacolor", nonce=""'
    assert check(gate(), digest(nothing, "PLAY", URI, "ann", "s3cret")) != "accepted"


@pytest.mark.parametrize("header", ["", "Digest", "Basic YW5uOnMzY3JldA==", "Digest a=" * 2000])
def test_other_schemes_and_rubbish_are_refused(header: str) -> None:
    g = gate()
    g.challenges(0.0)
    assert check(g, header) == "refused"


@given(st.text(max_size=200))
def test_no_header_raises_or_passes(text: str) -> None:
    g = gate()
    g.challenges(0.0)
    parse_parameters(text)
    assert check(g, "Digest " + text) == "refused"


def test_the_password_shows_nowhere() -> None:
    assert "s3cret" not in repr(Credentials("ann", "s3cret"))
