"""Our reader of requests beside two of other people's: it understands what they do, or refuses.

The table is that of request smuggling; where a reader differs on a row, the row is listed here with the reason.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataplane.errors import Refusal
from dataplane.http.parser import FIELDS, Parser
from tests.dataplane.http.readers import Asked, Reading, by_aiohttp, by_h11, ours, pieces
from tests.dataplane.payloads import TABLE

MANY = 5000
"""Bytes above which a payload is not cut everywhere."""

H11_TAKES = {
    "a coding before a tab": ["coding before a tab"],
    "folded lines (RFC 9112 §5.2: a server may refuse them)": [
        *("coding folded", "coding folded by a tab", "coding in a folded line", "length folded", "field folded"),
    ],
    "bare line feeds (§2.2: a recipient may take them)": [
        *("coding behind a bare LF", "field with a bare LF", "lines that end in a bare LF"),
        *("head that ends in two bare LF", "head that ends in CR LF LF", "chunk trailer with a bare LF"),
    ],
    "a length that is said twice (§6.3: a server may take equal ones)": [
        *("length of two fields that are equal", "length of a list of equals"),
    ],
    "a length beside a coding (§6.3: it ought to be handled as an error)": ["CL.TE", "CL.TE on a GET"],
    "a coding in HTTP/1.0 (§6.1: it must be treated as faulty)": ["coding in HTTP/1.0"],
    "spaces behind a chunk's size": ["chunk size before a space", "chunk size before a tab"],
    "control characters": [
        *("chunk extension with a bare CR", "field with another control character", "field with DEL"),
    ],
    "framing in trailers (§6.5.1)": ["chunk trailer of a length", "chunk trailer of a coding"],
    "versions that there are not, and those of other protocols": [
        *("line of HTTP/1.2", "line of HTTP/9.9", "line of HTTP/2.0", "line of HTTP/2"),
    ],
    "methods that nobody knows": ["line with a method in lower case", "line with a method that nobody knows"],
    "an authority that is no target of a GET (§3.2.3)": ["target in authority form"],
    "an upgrade with a body, where our parser would look for none": [name for name in TABLE if "upgrade" in name],
    "what is large: h11 limits what is unfinished alone": [
        *("line of 40,000 bytes", "field of 33,000 bytes", "field with a name of 33,000 bytes"),
        *("fields of 36,000 bytes", "fields, 500 of them", "trailers, 5,000 of them", "trailer of 100,000 bytes"),
    ],
    "numbers over 64 bit, whose bodies it waits for": [
        *("length of 2^64", "chunk size of too many digits", "chunk size over 64 bits"),
    ],
    "a line that may still end": ["lines that end in a bare CR"],
}
"""What we refuse and h11 takes, or waits for the rest of."""
H11_ENDS = {
    "it reads empty lines before a request as a request (§2.2: a server should ignore them)": [
        "sound: empty lines before it"
    ],
    "it takes one space (§3: a server may take more)": ["sound: two spaces in its line"],
    "to it HTTP/1.0 ends with its first answer": ["sound: HTTP/1.0 that goes on"],
    "to it each Upgrade may switch; ours closes behind the answer (`client.Writer`)": [
        "upgrade that Connection does not name"
    ],
}
"""What we read on and h11 does not."""
AIOHTTP_TAKES = {
    "a coding that would have to be undone": ["coding to be undone", "coding with a comma before it"],
    "a head of any size, if its parts are small": ["fields of 36,000 bytes"],
    "an upgrade with a body": [name for name in TABLE if "upgrade" in name],
}
AIOHTTP_REFUSES = {
    "a request that is followed by others though it says that it is the last": [
        *("body behind a request that closes", "body behind one of HTTP/1.0"),
    ],
    "a request behind trailers, since it takes the last of them for a field of it": [
        *("sound: a trailer", "sound: a trailer of a key", "trailer of a host"),
    ],
}


def listed(groups: dict[str, list[str]]) -> set[str]:
    return {name for names in groups.values() for name in names}


def plain(reading: Reading) -> Reading:
    """h11 writes codings in lower case."""
    asked = [
        each._replace(
            fields=tuple(
                (name, value.lower() if name == b"transfer-encoding" else value) for name, value in each.fields
            )
        )
        for each in reading.asked
    ]
    return Reading(tuple(asked), reading.refused)


def test_what_is_listed_is_in_the_table() -> None:
    lists = (H11_TAKES, H11_ENDS, AIOHTTP_TAKES, AIOHTTP_REFUSES)
    assert {name for groups in lists for name in listed(groups)} <= TABLE.keys()


@pytest.mark.parametrize("name", TABLE)
def test_it_reads_the_table_as_h11_does(name: str) -> None:
    data = TABLE[name].data
    mine, other = plain(ours([data])), plain(by_h11([data]))
    if mine == other:
        assert name not in listed(H11_TAKES) | listed(H11_ENDS) or "upgrade" in name
    elif mine.refused:
        assert mine.asked == ()
        assert name in listed(H11_TAKES)
    else:
        assert other.asked == mine.asked[: len(other.asked)]
        assert name in listed(H11_ENDS)


@pytest.mark.parametrize("name", TABLE)
async def test_it_reads_the_table_as_aiohttp_does(name: str) -> None:
    data = TABLE[name].data
    mine, other = ours([data]), await by_aiohttp([data])
    if mine == other:
        assert name not in listed(AIOHTTP_TAKES) | listed(AIOHTTP_REFUSES) or "upgrade" in name
    elif mine.refused:
        assert mine.asked == ()
        assert name in listed(AIOHTTP_TAKES)
    else:
        assert name in listed(AIOHTTP_REFUSES)


@pytest.mark.parametrize("name", [name for name, payload in TABLE.items() if len(payload.data) <= MANY])
def test_it_does_not_matter_how_the_bytes_come(name: str) -> None:
    data = TABLE[name].data
    whole = ours([data])
    assert ours(pieces(data, 1)) == whole
    for place in range(1, len(data)):
        assert ours([data[:place], data[place:]]) == whole


TOKENS = st.text("ABCXYZabcxyz0189!#$%&'*+-.^_`|~", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=30).map(
    lambda text: text.strip(" \t").encode()
)
TARGETS = st.text('abc/?%20=&.:@#{}\\"<>', max_size=30).map(lambda text: b"/" + text.encode())
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS", b"PROPFIND"])
OURS = (b"host", b"content-length", b"transfer-encoding", b"upgrade", b"connection", b"proxy-connection")


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, Asked]:
    """A sound request, and what it says."""
    method, target, body = draw(METHODS), draw(TARGETS), draw(st.binary(max_size=60))
    drawn = [(name.encode(), value) for name, value in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=4))]
    fields = [(b"Host", b"a"), *((name, value) for name, value in drawn if name.lower() not in OURS)]
    trailers = b""
    match draw(st.sampled_from(["none", "sized", "chunked"])):
        case "none":
            sent = body = b""
        case "sized":
            sent = body
            fields.append((b"Content-Length", str(len(body)).encode()))
        case _:
            cuts = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=3))})
            extension = draw(st.sampled_from([b"", b";a", b';a="b c"']))
            trailers = draw(st.sampled_from([b"", b"X-Trailer: y\r\n"]))
            chunks = [body[start:end] for start, end in pairwise(cuts)]
            sent = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks if chunk)
            sent += b"0\r\n" + trailers + b"\r\n"
            fields.append((b"Transfer-Encoding", b"chunked"))
    head = b"".join(b"%s: %s\r\n" % field for field in fields)
    asked = Asked(method, target, tuple((name.lower(), value) for name, value in fields), body)
    return b"%s %s HTTP/1.1\r\n%s\r\n%s" % (method, target, head, sent), asked


@given(st.lists(requests(), min_size=1, max_size=4), st.integers(1, 40))
def test_sound_requests_are_read_as_they_are_meant(sent: list[tuple[bytes, Asked]], size: int) -> None:
    """However many stand behind each other, and however they come."""
    data = b"".join(text for text, _ in sent)
    meant = Reading(tuple(asked for _, asked in sent))
    assert ours(pieces(data, size)) == meant
    assert by_h11(pieces(data, size)) == meant


def behind(text: bytes, count: int) -> bytes:
    """What stands behind so many requests."""
    return next(text[size:] for size in range(len(text) + 1) if len(ours([text[:size]]).asked) == count)


BARE = (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Asked(b"GET", b"/", ((b"host", b"a"),), b""))
RETURN = (
    b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n\r",
    Asked(b"PUT", b"/", ((b"host", b"a"), (b"content-length", b"1")), b"\r"),
)
WRONG = st.one_of(st.just(b""), st.sampled_from(b"\0\t\n\r :;,0x\x7f\xff").map(lambda n: bytes([n])))


@example(BARE, RETURN, -1, b"\0", 0)  # an empty line behind the last of them
@given(requests(), requests(), st.integers(0, 2000), WRONG, st.integers(0, 1))
def test_what_is_a_little_wrong_is_refused_or_read_as_h11_reads_it(
    first: tuple[bytes, Asked], second: tuple[bytes, Asked], place: int, byte: bytes, cut: int
) -> None:
    """`cut`: the bytes that the wrong one replaces."""
    text = first[0] + second[0]
    place %= len(text)
    text = text[:place] + byte + text[place + cut :]
    mine, other = ours([text]), plain(by_h11([text]))
    assert ours(pieces(text, 1)) == mine
    if mine == other or mine.refused:
        assert mine.asked == other.asked[: len(mine.asked)]
    else:  # as listed above
        assert mine.asked[: len(other.asked)] == other.asked
        assert b"  " in text or behind(text, len(other.asked)).startswith((b"\r", b"\n"))


def codes(limit: int, *data: bytes) -> list[str]:
    parser = Parser(limit)
    return [event.code for piece in data for event in parser.feed(piece) if isinstance(event, Refusal)]


def test_the_size_of_a_head_is_limited_whole() -> None:
    line = b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert codes(100, line + b"X: %s\r\n\r\n" % (b"x" * 80)) == []
    assert codes(100, line + b"X: %s\r\n\r\n" % (b"x" * 90)) == ["head_too_large"]
    assert codes(100, line, b"X: " + b"x" * 90) == ["head_too_large"]
    assert codes(100, b"GET /" + b"x" * 90, b"x" * 9) == ["head_too_large"]
    assert codes(9000, line + b"X: y\r\n" * FIELDS + b"\r\n") == ["head_too_large"]
    assert codes(9000, line + b"X: y\r\n" * (FIELDS - 1) + b"\r\n") == []


def test_the_size_of_trailers_is_limited_before_they_end() -> None:
    body = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    assert codes(100, body, b"X: " + b"x" * 90, b"\r\n\r\n") == []
    assert codes(100, body, b"X: ", *[b"x"] * 99) == ["head_too_large"]
    assert codes(100, body, b"X", *[b"x"] * 100) == ["head_too_large"]
    assert codes(100, body.removesuffix(b"0\r\n"), *[b"5\r\n", b"hello\r\n"] * 50, b"0\r\n\r\n") == []


def test_nothing_is_read_behind_a_refusal() -> None:
    parser = Parser(100)
    assert len(parser.feed(b"\0")) == 1
    assert parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == []


def test_a_refusal_quotes_nothing() -> None:
    secret = b"GET / HTTP/1.1\r\nAuthorization: Bearer sk-secret\0\r\n\r\n"
    (refusal,) = Parser(100).feed(secret)
    assert isinstance(refusal, Refusal)
    assert b"secret" not in refusal.body()
    head = Parser(1000).feed(secret.replace(b"\0\r\n", b"\r\nHost: a\r\n").replace(b" / ", b" /?key=sk-secret "))[0]
    assert "secret" not in repr(head)
