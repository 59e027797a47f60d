"""Header fields that cross the gateway."""

from __future__ import annotations

import pytest

from dataplane.errors import Refusal
from dataplane.http import headers
from dataplane.table import HeaderOps, HeaderValue, Variable

DROPPED = [
    ("Connection", "keep-alive, X-Hop"),
    ("X-Hop", "1"),
    ("Keep-Alive", "5"),
    ("TE", "trailers"),
    ("Trailer", "x"),
    ("Transfer-Encoding", "chunked"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "x"),
    ("Proxy-Authorization", "x"),
    ("Proxy-Connection", "x"),
    ("Host", "a"),
    ("Content-Length", "1"),
    ("Expect", "100-continue"),
    ("X-Forwarded-For", "1.2.3.4"),
    ("X-Forwarded-Anything", "x"),
    ("Forwarded", "for=x"),
    ("X-Forwarded", "for=x"),
    ("X-Real-IP", "1.2.3.4"),
    ("Via", "x"),
    ("True-Client-IP", "x"),
    ("X-Client-IP", "x"),
    ("X-Original-Forwarded-For", "x"),
    ("CF-Connecting-IP", "x"),
    ("x_forwarded_for", "x"),
    ("api_key", "x"),
    ("Sec-WebSocket-Key", "x"),
    ("Sec-WebSocket-Protocol", "openai-insecure-api-key.x"),
    ("X-Odd", "a\x01b"),
]
KEYS = [("Authorization", "Bearer k"), ("Api-Key", "k"), ("x-api-key", "k"), ("X-Goog-Api-Key", "k")]
ACCOUNT = [("OpenAI-Organization", "o"), ("OpenAI-Project", "p")]
KEPT = [("accept", "x"), ("x-many", "1"), ("cookie", "a=b"), ("x-many", "2"), ("openai-beta", "realtime=v1")]


@pytest.mark.parametrize(
    ("credential", "also"), [("secret", []), ("none", ACCOUNT), ("passthrough", [*KEYS, *ACCOUNT])]
)
def test_what_a_provider_sees(credential: str, also: list[tuple[str, str]]) -> None:
    sent = [(name.lower(), value) for name, value in [*DROPPED, *KEYS, *ACCOUNT, *KEPT]]
    expected = [(name.lower(), value) for name, value in [*also, *KEPT]]
    assert headers.upstream(sent, credential=credential, trace=False) == expected


@pytest.mark.parametrize("name", ["traceparent", "tracestate", "baggage"])
def test_a_provider_sees_the_clients_trace_only_where_all_is_passed_through(name: str) -> None:
    sent = [(name, "x"), ("x-many", "1")]
    assert headers.upstream(sent, credential="none", trace=False) == [("x-many", "1")]
    assert headers.upstream(sent, credential="none", trace=True) == [(name, "x"), ("x-many", "1")]


def test_what_frames_an_answer_is_nobody_elses_to_say() -> None:
    written = [("Content-Length", "3"), ("transfer-encoding", "chunked"), ("Connection", "close"), ("x-a", "1")]
    assert headers.unframed(written) == [("x-a", "1")]


def test_what_a_client_sees() -> None:
    sent = [("Connection", "X-Hop"), ("X-Hop", "1"), ("Transfer-Encoding", "chunked"), ("Content-Length", "3")]
    sent += [("Alt-Svc", "h3"), ("X-Odd", "a\x00b"), ("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X-Text", "caf\udce9")]
    assert headers.downstream(sent) == [("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X-Text", "café")]


def value(name: str, *parts: str | Variable) -> HeaderValue:
    return HeaderValue(name=name, value=parts)


def test_remove_then_set_then_add() -> None:
    ops = HeaderOps(
        remove=("x-gone",), set=(value("x-set", "new"), value("x-gone", "back")), add=(value("x-add", "2"),)
    )
    fields = [("X-Gone", "1"), ("X-Set", "a"), ("x-set", "b"), ("x-add", "1"), ("x-kept", "1")]
    assert headers.transformed(fields, ops, lambda _: "") == [
        ("x-add", "1"),
        ("x-kept", "1"),
        ("x-set", "new"),
        ("x-gone", "back"),
        ("x-add", "2"),
    ]


def test_templates_are_filled_and_empty_ones_are_not_sent() -> None:
    team, model = Variable(source="caller.team"), Variable(source="model")
    ops = HeaderOps(set=(value("x-team", "team=", team), value("x-model", model)))
    fields = [("x-model", "forged")]
    assert headers.transformed(fields, ops, {team: "support", model: ""}.__getitem__) == [("x-team", "team=support")]


@pytest.mark.parametrize("bad", ["a\r\nX-Injected: 1", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\x1bb"])
def test_control_characters_reach_no_header(bad: str) -> None:
    ops = HeaderOps(add=(value("x-q", "q=", Variable(source="request.query", name="q"), ";"),))
    with pytest.raises(Refusal, match=r"x-q is filled from request\.query\.q") as refused:
        headers.transformed([], ops, lambda _: bad)
    assert (refused.value.code, refused.value.status) == ("invalid_value", 400)
    assert bad not in refused.value.message


def test_bytes_that_are_no_utf_8_are_filled_in_as_latin_1() -> None:
    ops = HeaderOps(set=(value("x-text", Variable(source="request.header", name="x-in")),))
    assert headers.transformed([], ops, lambda _: "caf\udce9") == [("x-text", "café")]
