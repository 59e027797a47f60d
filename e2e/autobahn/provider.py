"""Autobahn's fuzzing server as a provider, and a client that says its messages back: what is tested is the gateway's
leg to a provider, between the two.

    python provider.py serve SUITE RESULTS CASE… [--except CASE…]      prints its port, and how many cases it has
    python provider.py echo URL COUNT N/M                              of M parts, which can run side by side, the Nth

RESULTS is written after each case, and is like that of fuzz.py.
"""

import argparse
import json
import sys
from pathlib import Path

from fuzz import KEPT, TEXT_KEPT, client_class

AGENT = "gateway"


def serve(args):
    sys.path.insert(0, str(args.suite))
    from autobahntestsuite import fuzzing
    from twisted.internet import reactor

    fuzzing.asciiLogData = lambda data, *_, **__: str(data[:TEXT_KEPT])
    results = {}

    class Factory(fuzzing.FuzzingServerFactory):
        protocol = client_class(fuzzing.FuzzingServerProtocol)

        def logCase(self, found):
            results[found["id"]] = {name: found[name] for name in KEPT} | {"answer": ""}
            new = args.results.with_suffix(".new")
            new.write_text(json.dumps(results, indent=1))
            new.replace(args.results)

    spec = {"url": "ws://127.0.0.1:9", "cases": args.cases, "exclude-cases": args.excluded, "exclude-agent-cases": {}}
    factory = Factory(spec)
    factory.externalPort = None  # behind a relay, Host names another port
    listener = reactor.listenTCP(0, factory, interface="127.0.0.1")
    print(f"listens on {listener.getHost().port} with {len(factory.specCases)} cases", flush=True)
    reactor.run()


def echo(args):
    from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
    from twisted.internet import reactor

    part, parts = map(int, args.part.split("/"))
    numbers = iter(range(part, args.count + 1, parts))

    class Echo(WebSocketClientProtocol):
        def onMessage(self, payload, isBinary):
            self.sendMessage(payload, isBinary)

    def following():
        number = next(numbers, None)
        if number is None:
            reactor.stop()
            return
        factory = WebSocketClientFactory(f"{args.url}?case={number}&agent={AGENT}")
        factory.protocol = Echo
        factory.setProtocolOptions(failByDrop=False)
        factory.clientConnectionLost = factory.clientConnectionFailed = lambda *_: following()
        reactor.connectTCP("127.0.0.1", factory.port, factory)

    reactor.callWhenRunning(following)
    reactor.run()


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    server = commands.add_parser("serve")
    server.add_argument("suite", type=Path)
    server.add_argument("results", type=Path)
    server.add_argument("cases", nargs="+")
    server.add_argument("--except", dest="excluded", nargs="*", default=[])
    server.set_defaults(run=serve)
    client = commands.add_parser("echo")
    client.add_argument("url")
    client.add_argument("count", type=int)
    client.add_argument("part")
    client.set_defaults(run=echo)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
