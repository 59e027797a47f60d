"""A WebSocket server that sends every message back: `python echo.py PORT`, in the Python that the suite is built in.

It is made of the library that the suite's authors wrote beside it, so that what fails behind a relay is the relay's.
"""

import sys

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol, listenWS
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from twisted.internet import reactor


class Echo(WebSocketServerProtocol):
    def onMessage(self, payload, isBinary):
        self.sendMessage(payload, isBinary)


def accept(offers):
    """Compression, where it is offered."""
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(offer)
    return None


factory = WebSocketServerFactory(f"ws://127.0.0.1:{sys.argv[1]}")
factory.protocol = Echo
factory.setProtocolOptions(failByDrop=False, perMessageCompressionAccept=accept)
listenWS(factory, interface="127.0.0.1")
reactor.run()
