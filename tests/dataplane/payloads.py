"""Requests that two readers could take for one or for two, and what must be observed of each: the table of request
smuggling and hygiene. It is data, read by two tests: of the gateway alone (`test_smuggling.py`), and of the gateway
behind nginx and HAProxy (`e2e/test_smuggling.py`). Whatever replaces the HTTP front must pass both.

Behind every payload comes a request for TWO, where a reader that errs finds it, or misses it. Sources: RFC 9110 and
9112, and the attacks that were published since 2005 (CL.TE, TE.CL, TE.TE, upgrades, chunk extensions, line folding).
"""

from __future__ import annotations

from typing import NamedTuple

KEY = "tg-hygiene-7d0c2b41f8"
"""The client's key in all of them."""
ONE, TWO = "/v1/echo", "/v1/echo/hidden"
SOCKET, REFUSING = "/v1/echo/ws", "/v1/echo/refuses"
REALTIME = "/v1/realtime?model=gpt-realtime"

HOST = f"Host: a\r\nAuthorization: Bearer {KEY}\r\n"
CLOSES, CHUNKED, EXPECTS = "Connection: close\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n"
FIVE = "Content-Length: 5\r\n"
UPGRADES = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
WEBSOCKET = f"{UPGRADES}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
END = "0\r\n\r\n"
HELLO = f"5\r\nhello\r\n{END}"
FRAME = "\x81\x80\x01\x02\x03\x04"
"""An empty text message."""


class Outcome(NamedTuple):
    answers: tuple[int, ...]
    """Statuses that are answered, in order."""
    seen: tuple[str, ...] = ()
    """Targets of the requests that reach the provider."""


class Payload(NamedTuple):
    """What the gateway does alone. Behind a proxy it may get to see less, or something sounder."""

    data: bytes
    whole: Outcome
    """Where it comes in one read."""
    pieces: Outcome
    """Where it comes in many, which may come to the same as `whole`."""


def ask(fields: str = "", body: str = "", *, line: str = f"POST {ONE} HTTP/1.1", host: str = HOST) -> str:
    """A request, and the other one behind it."""
    return f"{line}\r\n{host}{fields}\r\n{body}GET {TWO} HTTP/1.1\r\n{HOST}{CLOSES}\r\n"


def get(target: str, fields: str = "", body: str = "", *, host: str = HOST) -> str:
    return ask(fields, body, line=f"GET {target} HTTP/1.1", host=host)


def row(text: str, whole: Outcome, pieces: Outcome | None = None) -> Payload:
    return Payload(text.encode("latin-1"), whole, pieces or whole)


def refused(text: str, status: int = 400) -> Payload:
    """Refused once; the connection ends, and nothing goes on."""
    return row(text, Outcome((status,)))


def refused_late(text: str, status: int = 400, *, begun: bool = False) -> Payload:
    """The same. In pieces, the request is under way when its body turns out to be broken; `begun`: some of the body was
    sound, and the provider has seen that."""
    return row(text, Outcome((status,)), Outcome((status,), (ONE,) if begun else ()))


def served(text: str, *seen: str) -> Payload:
    """Served, as these requests."""
    return row(text, Outcome((200,) * len(seen), seen))


def switched(text: str, target: str) -> Payload:
    """Upgraded: what follows is of the new protocol, whatever it looks like."""
    return row(text, Outcome((101,), (target,)))


TABLE: dict[str, Payload] = {}

TABLE |= {
    f"coding {name}": refused(ask(f"{field}\r\n", END))
    for name, field in {
        "of two fields, the last unknown": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "of two fields, the first unknown": "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "of two fields, both chunked": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "unknown": "Transfer-Encoding: xchunked",
        "chunked twice": "Transfer-Encoding: chunked, chunked",
        "to be undone": "Transfer-Encoding: gzip, chunked",
        "chunked and not last": "Transfer-Encoding: chunked, identity",
        "identity": "Transfer-Encoding: identity",
        "with a parameter": "Transfer-Encoding: chunked;q=1",
        "with a comma before it": "Transfer-Encoding: ,chunked",
        "with a comma behind it": "Transfer-Encoding: chunked,",
        "in quotes": 'Transfer-Encoding: "chunked"',
        "in single quotes": "Transfer-Encoding: 'chunked'",
        "empty": "Transfer-Encoding: ",
        "behind a vertical tab": "Transfer-Encoding: \x0bchunked",
        "behind a form feed": "Transfer-Encoding: \x0cchunked",
        "before a tab": "Transfer-Encoding: chunked\t",
        "before a NUL": "Transfer-Encoding: chunked\0",
        "before a no-break space": "Transfer-Encoding: chunked\xa0",
        "with a Kelvin sign": "Transfer-Encoding: chun\xe2\x84\xaaed",
        "before a colon with a space": "Transfer-Encoding : chunked",
        "before a colon with a tab": "Transfer-Encoding\t: chunked",
        "before a colon with a NUL": "Transfer-Encoding\0: chunked",
        "folded": "Transfer-Encoding:\r\n chunked",
        "folded by a tab": "Transfer-Encoding:\r\n\tchunked",
        "in a folded line": "X: y\r\n Transfer-Encoding: chunked",
        "behind a bare LF": "X: y\nTransfer-Encoding: chunked",
        "behind a bare CR": "X: y\rTransfer-Encoding: chunked",
    }.items()
}
TABLE |= {
    f"length {name}": refused(ask(f"{field}\r\n"))
    for name, field in {
        "of two fields that differ": "Content-Length: 0\r\nContent-Length: 5",
        "of two fields that are equal": "Content-Length: 0\r\nContent-Length: 0",
        "of a list that differs": "Content-Length: 0, 5",
        "of a list of equals": "Content-Length: 0, 0",
        "with a plus": "Content-Length: +0",
        "with a minus": "Content-Length: -0",
        "negative": "Content-Length: -1",
        "hexadecimal": "Content-Length: 0x0",
        "with an exponent": "Content-Length: 0e1",
        "with a fraction": "Content-Length: 0.0",
        "with an underscore": "Content-Length: 0_0",
        "with a space inside": "Content-Length: 0 0",
        "with a semicolon": "Content-Length: 0;a",
        "empty": "Content-Length: ",
        "in the digits of another script": "Content-Length: \xd9\xa0",
        "of 2^64": "Content-Length: 18446744073709551616",
        "of 2^64 + 5, with zeros": "Content-Length: 000000000018446744073709551621",
        "before a NUL": "Content-Length: 0\0",
        "before a colon with a space": "Content-Length : 0",
        "folded": "Content-Length:\r\n 0",
    }.items()
}
TABLE |= {
    f"chunk {name}": refused_late(ask(CHUNKED, body), begun="hello" in body and body.startswith("5\r\n"))
    for name, body in {
        "size of too many digits": f"{'f' * 17}\r\nhello\r\n{END}",
        "size over 64 bits": f"1{'0' * 15}5\r\nhello\r\n{END}",
        "size with a plus": f"+5\r\nhello\r\n{END}",
        "size negative": f"-5\r\nhello\r\n{END}",
        "size with 0x": f"0x5\r\nhello\r\n{END}",
        "size with an underscore": f"0_5\r\nhello\r\n{END}",
        "size behind a space": f" 5\r\nhello\r\n{END}",
        "size before a space": f"5 \r\nhello\r\n{END}",
        "size before a tab": f"5\t\r\nhello\r\n{END}",
        "size empty": f"\r\nhello\r\n{END}",
        "size not hexadecimal": f"g\r\nhello\r\n{END}",
        "size before a bare LF": f"5\nhello\r\n{END}",
        "size before a bare CR": f"5\rhello\r\n{END}",
        "size before a NUL": f"5\0\r\nhello\r\n{END}",
        "extension with a bare LF": f"5;a\nhello\r\n{END}",
        "extension with a bare CR": f"5;a\rb\r\nhello\r\n{END}",
        "data before a bare LF": f"5\r\nhello\n{END}",
        "data longer than said": f"5\r\nhello!\r\n{END}",
        "data without an end": f"5\r\nhello{END}",
        "trailer with a bare LF": "0\r\nX-Trailer: y\n\r\n",
        "trailer with a space before the colon": "0\r\nX-Trailer : y\r\n\r\n",
        "trailer without a name": "0\r\n: y\r\n\r\n",
        "trailer without a colon": "0\r\nX-Trailer\r\n\r\n",
        "trailer of a length": f"5\r\nhello\r\n0\r\n{FIVE}\r\n",
        "trailer of a coding": f"5\r\nhello\r\n0\r\n{CHUNKED}\r\n",
        "of size 0 before a bare LF": "0\n\n",
    }.items()
}
TABLE |= {
    f"field {name}": refused(get(ONE, f"{field}\r\n"))
    for name, field in {
        "folded": "X: a\r\n Content-Length: 5",
        "with a bare LF": "X: a\nY: b",
        "with a bare CR": "X: a\rY: b",
        "with a NUL": "X: a\0b",
        "with another control character": "X: a\x01b",
        "with DEL": "X: a\x7fb",
        "without a name": ": b",
        "without a colon": "X",
        "with a space in its name": "X Y: b",
        "with a NUL in its name": "X\0Y: b",
        "with parentheses in its name": "X(Y): b",
        "with a letter of another script in its name": "C\xd0\xbentent-Length: 5",
        "before a colon with a space": "X : b",
        "of a second host": "Host: b",
        "of a second host, the same": "Host: a",
    }.items()
}
TABLE |= {
    "field folded before all others": refused(get(ONE, host=f" {HOST}")),
    "lines that end in a bare LF": refused(get(ONE).replace("\r\n", "\n")),
    "lines that end in a bare CR": refused(get(ONE).replace("\r\n", "\r")),
    "head that ends in two bare LF": refused(get(ONE, "X: y\n\n")),
    "head that ends in CR LF LF": refused(get(ONE, "X: y\r\n\n")),
    "head that ends in CR CR LF": refused(get(ONE, "X: y\r\n\r")),
    "length with an underscore in its name": served(get(ONE, "Content_Length: 5\r\n"), ONE, TWO),
    "coding with an underscore in its name": served(get(ONE, "Transfer_Encoding: chunked\r\n"), ONE, TWO),
}
TABLE |= {
    f"line {name}": refused(ask(line=line))
    for name, line in {
        "of HTTP/0.9": f"GET {ONE}",
        "of HTTP/1.2": f"GET {ONE} HTTP/1.2",
        "of HTTP/9.9": f"GET {ONE} HTTP/9.9",
        "of HTTP/2.0": f"GET {ONE} HTTP/2.0",
        "with a version of two digits": f"GET {ONE} HTTP/1.10",
        "with http in lower case": f"GET {ONE} http/1.1",
        "with a space behind it": f"GET {ONE} HTTP/1.1 ",
        "with tabs": f"GET\t{ONE}\tHTTP/1.1",
        "behind a space": f" GET {ONE} HTTP/1.1",
        "with a bare CR": f"GET {ONE}\rHTTP/1.1",
        "without a target": "GET HTTP/1.1",
        "with a method in lower case": f"get {ONE} HTTP/1.1",
        "with a method that nobody knows": f"FROB {ONE} HTTP/1.1",
        "with a NUL in its method": f"G\0ET {ONE} HTTP/1.1",
        "of CONNECT": "CONNECT a:80 HTTP/1.1",
    }.items()
}
TABLE |= {
    "line of CONNECT in origin form": refused(ask(line=f"CONNECT {ONE} HTTP/1.1"), 405),
    "line of an asterisk": row(ask(line="OPTIONS * HTTP/1.1"), Outcome((400, 200), (TWO,))),
    "line of HTTP/2": refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "no line, but TLS": refused("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 40),
}
TABLE |= {
    f"target {name}": refused(get(target))
    for name, target in {
        "with a space": f"{ONE} x",
        "with a NUL": f"{ONE}\0",
        "with a control character": f"{ONE}\x01",
        "with bytes that are not ASCII": f"{ONE}\xff",
        "in authority form": "a:80",
    }.items()
}
TABLE |= {
    f"target {name}": row(get(target), Outcome((400, 200), (TWO,)))
    for name, target in {
        "with a fragment": f"{ONE}#{TWO}",
        "with a backslash": f"{ONE}\\hidden",
        "with dot segments": f"{ONE}/x/../hidden",
        "with encoded dot segments": f"{ONE}/x/%2e%2e/hidden",
        "with an encoded slash": f"{ONE}%2fhidden",
        "with an encoded line end": f"{ONE}%0d%0aX:y",
        "with an encoded NUL": f"{ONE}%00",
        "of another scheme": f"ftp://a{ONE}",
    }.items()
}
TABLE |= {
    f"target {name}": served(get(target), seen, TWO)
    for name, target, seen in (
        ("in absolute form", f"http://a{ONE}", ONE),
        ("in absolute form, of another host", f"http://other.test{ONE}", ONE),
        ("in absolute form, of somebody", f"http://somebody@a{ONE}", ONE),
        ("in absolute form, without a path", f"http://a?{TWO}", f"/?{TWO}"),
        ("with two slashes", f"//other.test{ONE}", f"//other.test{ONE}"),
    )
}
TABLE |= {
    "no host": refused(get(ONE, host=HOST.partition("\n")[2])),
    "host with a comma": served(get(ONE, host=HOST.replace(": a\r", ": a, b\r")), ONE, TWO),
    "host with a slash": served(get(ONE, host=HOST.replace(": a\r", ": a/b\r")), ONE, TWO),
    "host that is somebody's": served(get(ONE, host=HOST.replace(": a\r", ": somebody@a\r")), ONE, TWO),
    "host that is empty": served(get(ONE, host=HOST.replace(": a\r", ": \r")), ONE, TWO),
}
TABLE |= {
    "CL.TE": refused(ask(f"Content-Length: 6\r\n{CHUNKED}", END)),
    "TE.CL": refused(ask(f"{CHUNKED}Content-Length: 4\r\n", "5c\r\n")),
    "CL.TE on a GET": refused(get(ONE, f"Content-Length: 6\r\n{CHUNKED}", END)),
    "coding in HTTP/1.0": refused(ask(CHUNKED, END, line=f"POST {ONE} HTTP/1.0")),
    "body shorter than its length": row(ask("Content-Length: 5000\r\n"), Outcome((408,), (ONE,))),
    "body behind a request that closes": served(ask(CLOSES), ONE),
    "body behind one of HTTP/1.0": served(ask(line=f"GET {ONE} HTTP/1.0"), ONE),
}
TABLE |= {
    f"upgrade {name}": refused(text)
    for name, text in {
        "with a length": get(SOCKET, WEBSOCKET + FIVE, "hello"),
        "with chunks": get(SOCKET, WEBSOCKET + CHUNKED, END),
        "by POST, with a length": ask(WEBSOCKET + FIVE, "hello"),
        "to anything, with a length": ask(f"Connection: Upgrade\r\nUpgrade: anything\r\n{FIVE}", "hello"),
        "to anything, with chunks": ask(f"Connection: Upgrade\r\nUpgrade: anything\r\n{CHUNKED}", END),
        "that Connection does not name, with a length": ask(f"Upgrade: websocket\r\n{FIVE}", "hello"),
        "to h2c, with a length": ask(f"Connection: Upgrade\r\nUpgrade: h2c\r\n{FIVE}", "hello"),
        "to a session, with a length": get(REALTIME, WEBSOCKET + FIVE, "hello"),
    }.items()
}
TABLE |= {
    f"upgrade {name}": served(text, seen)
    for name, text, seen in (
        ("by POST", ask(WEBSOCKET), ONE),
        ("that Connection does not name", get(ONE, "Upgrade: websocket\r\n"), ONE),
        (
            "to h2c",
            get(ONE, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            ONE,
        ),
        ("to what only looks like it", get(SOCKET, WEBSOCKET.replace("socket\r", "soc\xe2\x84\xaaet\r")), SOCKET),
        ("to one of a list", get(SOCKET, WEBSOCKET.replace(": web", ": h2c, web")), SOCKET),
        ("named twice", get(SOCKET, f"Upgrade: websocket\r\n{WEBSOCKET}"), SOCKET),
        ("in HTTP/1.0", ask(WEBSOCKET, line=f"GET {SOCKET} HTTP/1.0"), SOCKET),
        ("that the provider does not make", get(REFUSING, WEBSOCKET), REFUSING),
    )
}
TABLE |= {
    f"upgrade {name}": switched(get(target, fields, body), target)
    for name, target, fields, body in (
        ("and a request", SOCKET, WEBSOCKET, ""),
        ("and frames, and a request", SOCKET, WEBSOCKET, FRAME),
        ("to a session, and a request", REALTIME, WEBSOCKET, ""),
        ("to a session, and frames, and a request", REALTIME, WEBSOCKET, FRAME),
        ("with a length of 0", SOCKET, f"{WEBSOCKET}Content-Length: 0\r\n", ""),
        ("that names its key in Connection", SOCKET, WEBSOCKET.replace(": Up", ": Sec-WebSocket-Key, Up"), ""),
    )
}
TABLE |= {
    "upgrade that is not named": served(get(ONE, "Connection: Upgrade\r\n"), ONE, TWO),
    "upgrade without a key": refused(get(SOCKET, WEBSOCKET, host="Host: a\r\n"), 401),
    "upgrade to a session, without a key": refused(get(REALTIME, WEBSOCKET, host="Host: a\r\n"), 401),
    "upgrade to a session, of an old version": refused(get(REALTIME, WEBSOCKET.replace("13", "8")), 426),
    "upgrade to a session, by POST": refused(ask(WEBSOCKET, line=f"POST {REALTIME} HTTP/1.1"), 405),
    "upgrade to a session, in HTTP/1.0": refused(ask(WEBSOCKET, line=f"GET {REALTIME} HTTP/1.0"), 426),
}
TABLE |= {
    f"connection that names {name}": served(ask(f"Connection: {name}\r\n{FIVE}", "hello"), ONE, TWO)
    for name in ("content-length", "host", "authorization", "transfer-encoding", "x-tidegate-request-id")
}
TABLE |= {
    "connection that names the coding": served(ask(f"Connection: transfer-encoding\r\n{CHUNKED}", HELLO), ONE, TWO),
    "expectation": row(ask(EXPECTS + FIVE, "hello"), Outcome((100, 200, 200), (ONE, TWO))),
    "expectation without a body": served(get(ONE, EXPECTS), ONE, TWO),
    "expectation without a key": row(
        ask(EXPECTS + FIVE, "hello", host="Host: a\r\n"), Outcome((401, 200), (TWO,)), Outcome((401,))
    ),
    "expectation of something else": row(
        ask(f"Expect: 200-ok\r\n{FIVE}", "hello"), Outcome((417, 200), (TWO,)), Outcome((417,))
    ),
}
TABLE |= {
    "line of 40,000 bytes": refused(get(f"{ONE}?{'x' * 40_000}"), 431),
    "field of 33,000 bytes": refused(get(ONE, f"X: {'x' * 33_000}\r\n"), 431),
    "field with a name of 33,000 bytes": refused(get(ONE, f"{'x' * 33_000}: x\r\n"), 431),
    "field that does not end": refused(f"GET {ONE} HTTP/1.1\r\n{HOST}X: {'x' * 70_000}", 431),
    "fields of 36,000 bytes": refused(get(ONE, "".join(f"X-{number}: {'x' * 4000}\r\n" for number in range(9))), 431),
    "fields, 500 of them": refused(get(ONE, "".join(f"X-{number}: x\r\n" for number in range(500))), 431),
    "trailers, 5,000 of them": refused_late(
        ask(CHUNKED, "5\r\nhello\r\n0\r\n" + "X-Trailer: y\r\n" * 5000 + "\r\n"), 431, begun=True
    ),
    "trailer of 100,000 bytes": refused_late(
        ask(CHUNKED, f"5\r\nhello\r\n0\r\nX-Trailer: {'x' * 100_000}\r\n\r\n"), 431, begun=True
    ),
}
TABLE |= {
    f"sound: {name}": served(text, ONE, TWO)
    for name, text in {
        "a length": ask(FIVE, "hello"),
        "a length on a GET": get(ONE, FIVE, "hello"),
        "a length with zeros before it": ask("Content-Length: 0005\r\n", "hello"),
        "a length between spaces": ask("Content-Length:  \t5 \t\r\n", "hello"),
        "empty lines before it": f"\r\n\r\n{get(ONE)}",
        "two spaces in its line": ask(line=f"GET  {ONE} HTTP/1.1"),
        "a body that looks like a request": ask("Content-Length: 40\r\n", f"GET {TWO} HTTP/1.1".ljust(36) + "\r\n\r\n"),
        "HEAD": ask(line=f"HEAD {ONE} HTTP/1.1"),
        "HTTP/1.0 that goes on": ask("Connection: keep-alive\r\n", line=f"GET {ONE} HTTP/1.0"),
        "fields that name another target": get(ONE, f"X-Original-URL: {TWO}\r\nX-Rewrite-URL: {TWO}\r\n"),
        "fields that name another host": get(ONE, "X-Forwarded-Host: b\r\nForwarded: host=b\r\n"),
        "a field that names another method": ask(f"X-HTTP-Method-Override: GET\r\n{FIVE}", "hello"),
    }.items()
}
TABLE |= {
    f"sound: {name}": served(ask(fields, body), ONE, TWO)
    for name, fields, body in (
        ("chunks", CHUNKED, HELLO),
        ("no chunks", CHUNKED, END),
        ("a coding in capitals", "Transfer-Encoding: CHUNKED\r\n", HELLO),
        ("a coding behind a tab", "Transfer-Encoding:\tchunked\r\n", HELLO),
        ("a chunk size with zeros before it", CHUNKED, f"00005\r\nhello\r\n{END}"),
        ("a chunk size in capitals", CHUNKED, f"A\r\nhellohello\r\n{END}"),
        ("chunk extensions", CHUNKED, f'5;a;b=c;d="e"\r\nhello\r\n{END}'),
        ("a chunk extension that looks like an end", CHUNKED, '5;a="0"\r\nhello\r\n0;b\r\n\r\n'),
        ("a chunk extension of 100,000 bytes", CHUNKED, f"5;{'x' * 100_000}\r\nhello\r\n{END}"),
        ("a chunk that looks like a request", CHUNKED, f"28\r\n{f'GET {TWO} HTTP/1.1':36}\r\n\r\n\r\n{END}"),
        ("a trailer", CHUNKED, "5\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n"),
        ("a trailer of a key", CHUNKED, "5\r\nhello\r\n0\r\nAuthorization: Bearer y\r\n\r\n"),
    )
}
TABLE["trailer of a host"] = served(ask(CHUNKED, "5\r\nhello\r\n0\r\nHost: b\r\n\r\n"), ONE, TWO)
