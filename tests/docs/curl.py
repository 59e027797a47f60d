"""The few options of curl that our pages use, for machines without curl: `make test` needs only Python."""

from __future__ import annotations

import argparse
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("url")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-N", "--no-buffer", action="store_true")
    parser.add_argument("-i", "--include", action="store_true")
    parser.add_argument("-X", "--request")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data")
    options = parser.parse_args(arguments)
    request = Request(options.url, options.data.encode() if options.data else None, method=options.request)
    for header in options.header:
        name, _, value = header.partition(":")
        request.add_header(name, value.strip())
    try:
        with urlopen(request, timeout=30) as answer:
            status, reason, fields, body = answer.status, answer.reason, answer.headers, answer.read()
    except HTTPError as error:
        with error:
            status, reason, fields, body = error.code, error.reason, error.headers, error.read()
    if options.include:
        print(f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields.items()), "", sep="\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(body)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
