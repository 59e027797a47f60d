"""A WebSocket server that sends every message back, run by the Python that the suite is built in. Prints its port.

It is made of the library that the suite's authors wrote beside it, so that what fails behind a relay is the relay's.
"""

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
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


factory = WebSocketServerFactory()  # without its address: behind a relay, Host names another port
factory.protocol = Echo
factory.setProtocolOptions(failByDrop=False, perMessageCompressionAccept=accept)
listener = reactor.listenTCP(0, factory, interface="127.0.0.1")
print(f"listens on {listener.getHost().port}", flush=True)
reactor.run()
