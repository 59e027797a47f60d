"""Run Autobahn's fuzzing client: `python fuzz.py SUITE URL RESULTS CASE… [--except CASE…] [--part N/M]`.

SUITE is the folder that build.py filled; cases are named as the suite does (`1.*`, `7.9.5`). Of M parts, which can
run side by side, this is the Nth. RESULTS becomes a JSON object: case → what the suite found of it. The suite's own
HTML reports are left out.

In the suite octets are Latin-1 text (see build.py); this is where they are encoded and decoded.
"""

import argparse
import json
import sys
from pathlib import Path

KEPT = ("behavior", "behaviorClose", "result", "resultClose", "remoteCloseCode", "duration")
TEXT_KEPT = 300  # characters of what came back first
COMPRESSION = ("12.", "13.")  # cases that work on bytes since they were written


def octets(value):
    return value.encode("latin-1") if isinstance(value, str) else value


def client_class(base):
    """The suite's client protocol, with the border between text and bytes."""

    class Client(base):
        # -- from the suite to the library

        def sendFrame(self, opcode, payload=b"", payload_len=None, **options):
            payload = octets(payload)
            if payload_len is not None:  # the library repeats the payload with a division of Python 2
                payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
            super().sendFrame(opcode, payload=payload, **options)

        def sendMessage(self, payload, *args, **options):
            super().sendMessage(octets(payload), *args, **options)

        def sendMessageFrameData(self, payload, sync=False):
            return super().sendMessageFrameData(octets(payload), sync)

        def sendCloseFrame(self, code=None, **options):
            super().sendCloseFrame(code, **{name: octets(value) for name, value in options.items()})

        # -- from the library to the suite

        def onMessage(self, payload, binary):
            if not hasattr(self, "answer"):
                self.answer = payload[:TEXT_KEPT].decode("latin-1")
            case = self.factory.CaseSet.caseClasstoId(self.Case)
            super().onMessage(payload if case.startswith(COMPRESSION) else payload.decode("latin-1"), binary)

        def onPing(self, payload):
            super().onPing(payload.decode("latin-1"))

        def onPong(self, payload):
            super().onPong(payload.decode("latin-1"))

        # -- logs of the wire: nobody reads them, and case 10.1.1 counts frames

        def logTxFrame(self, head, *_):
            self.txFrameStats[head.opcode] = self.txFrameStats.get(head.opcode, 0) + 1

        def logRxOctets(self, *_):
            pass

        logTxOctets = logRxFrame = logRxOctets

    return Client


def factory_class(fuzzing, results):
    client = client_class(fuzzing.FuzzingClientProtocol)

    class Factory(fuzzing.FuzzingClientFactory):
        def buildProtocol(self, addr):
            protocol = client()
            protocol.factory = self
            protocol.caseAgent = self.agent
            protocol.case = self.currentCaseIndex
            protocol.Case = fuzzing.Cases[self.currentCaseIndex - 1]
            protocol.runCase = protocol.Case(protocol)
            self.current = protocol
            return protocol

        def logCase(self, found):
            answer = getattr(self.current, "answer", "")
            results[found["id"]] = {name: found[name] for name in KEPT} | {"answer": answer}

        def createReports(self):
            pass

    return Factory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("suite", type=Path)
    parser.add_argument("url")
    parser.add_argument("results", type=Path)
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--except", dest="excluded", nargs="*", default=[])
    parser.add_argument("--part", default="1/1")
    args = parser.parse_args()
    sys.path.insert(0, str(args.suite))

    from autobahntestsuite import case, fuzzing
    from autobahntestsuite.caseset import CaseSet
    from twisted.internet import reactor

    fuzzing.asciiLogData = lambda data, *_, **__: str(data[:TEXT_KEPT])
    cases = CaseSet(case.CaseSetname, case.CaseBasename, case.Cases, case.CaseCategories, case.CaseSubCategories)
    part, parts = map(int, args.part.split("/"))
    spec = {
        "servers": [{"agent": "target", "url": args.url}],
        "cases": cases.parseSpecCases({"cases": args.cases, "exclude-cases": args.excluded})[part - 1 :: parts],
        "exclude-agent-cases": {},
    }
    results = {}
    factory_class(fuzzing, results)(spec)
    reactor.run()
    args.results.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
