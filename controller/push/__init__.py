"""From a compiled table to gateways: they dial every replica of the controller, and take from each what they have not.

    server.py       the sockets: who may come in, one task for what each connection hears and one for what it says
    reviews.py      whose token is it? asks the API server, remembers for some minutes
    door.py         pure: is that a gateway of this install?
    tls.py          the certificate that the server shows, replaced while it serves
    publication.py  pure: a table as it is offered, by schema; what has not changed is shared with the one before
    channel.py      pure: what is said on one connection, and what that gateway holds
    observing.py    what the server tells whoever counts
    sparing.py      pure: who is turned away cannot fill the log

Gateways that are slow are offered the newest table when they are done with an old one, and none between. A replica
whose mirror lags is answered `stale`, and offers again once it has moved.
"""
