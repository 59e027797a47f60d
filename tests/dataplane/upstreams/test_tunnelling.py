"""CONNECT: what a proxy is asked, and every kind of answer, in whatever pieces it comes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.upstreams.tunnelling import MAX_HEAD, Tunnel, TunnelRefused
from tests.dataplane.upstreams.tunnels import fuzz_tunnel, told

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_what_is_asked() -> None:
    assert Tunnel("a.test", 443).request() == b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"
    assert Tunnel("fd00::1", 80).request().startswith(b"CONNECT [fd00::1]:80 HTTP/1.1\r\nHost: [fd00::1]:80\r\n")
    assert b"\r\nProxy-Authorization: Basic eA==\r\n\r\n" in Tunnel("a", 1, "Basic eA==").request()


@pytest.mark.parametrize("host", ["", "a b", "a\r\nb", "ä.test", "a/b", "a@b", "[::1]"])
def test_what_is_no_host_is_never_asked_for(host: str) -> None:
    with pytest.raises(TunnelRefused, match="not a valid host name"):
        Tunnel(host, 443)


ANSWERS = [
    (OK, "open"),
    (b"HTTP/1.0 200\r\n\r\n", "open"),
    (b"HTTP/1.1 299 \xe4\r\nVia: 1.1 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nX:\r\n\r\n", "open"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, "open"),
    (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 403 No\r\n\r\n", "answered 403 (Forbidden)"),
    (b"", "more"),
    (b"HTT", "more"),
    (b"HTTP/1.1 200 OK\r\nVia: x", "more"),
    (b"HTTP/1.1 100 Continue\r\n\r\n", "more"),
    (b"HTTP/1.1 301 Moved\r\nLocation: x\r\n\r\n", "answered 301 (Moved Permanently)"),
    (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nnope", "answered 502 (Bad Gateway)"),
    (b"HTTP/1.1 999 What\r\n\r\n", "answered 999"),
    (b"HTTP/1.1 101 Switching\r\n\r\n", "not HTTP/1.1"),
    (b"HTTP/2 200\r\n\r\n", "not HTTP/1.1"),
    (b"HTTP/1.1 20 OK\r\n\r\n", "not HTTP/1.1"),
    (b"HTTP/1.1 2000 OK\r\n\r\n", "not HTTP/1.1"),
    (b"HTTP/1.1 200 OK\r\n folded\r\n\r\n", "not HTTP/1.1"),
    (b"HTTP/1.1 200 OK\r\nno field\r\n\r\n", "not HTTP/1.1"),
    (b"HTTP/1.1 200 O\nK\r\n\r\n", "not HTTP/1.1"),
    (b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", "not HTTP/1.1"),
    (b"SSH-2.0-OpenSSH\r\n", "not HTTP/1.1"),
    (b"\x16\x03\x01", "not HTTP/1.1"),
    (b"\r\n\r\n", "not HTTP/1.1"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD, f"more than {MAX_HEAD} bytes"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD + b"\r\n\r\n", f"more than {MAX_HEAD} bytes"),
    (b"HTTP/1.1 100 C\r\n\r\n" * 1000, f"more than {MAX_HEAD} bytes"),
]


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize(("answer", "said"), ANSWERS)
def test_what_becomes_of_an_answer(answer: bytes, said: str, step: int) -> None:
    assert said in told(answer, step=step)


def test_who_has_to_do_something_about_a_407() -> None:
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"
    assert "TIDEGATE_UPSTREAM_PROXY_PASSWORD" in told(answer)
    assert "refused the gateway's own credential (407)" in told(answer, "Basic eA==")


def test_what_comes_behind_the_head_is_no_upstream_s() -> None:
    assert told(OK + b"220 ready") == "sent something before the upstream was asked anything"


def test_one_that_hangs_up() -> None:
    assert str(Tunnel("a", 1).eof()) == "closed the connection without an answer"


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_nothing_else_is_ever_raised_and_pieces_change_nothing(noise: bytes, seed: int) -> None:
    dice = random.Random(seed)
    answer = bytearray(dice.choice(ANSWERS)[0][:400])
    at = dice.randrange(len(answer) + 1)
    answer[at : at + dice.randrange(4)] = noise[: dice.randrange(len(noise) + 1)]
    fuzz_tunnel(bytes([dice.randrange(256)]) + answer)
