"""What a provider keeps is found again by whoever made it, and by nobody else.

A stored response, and content that a provider has encrypted, are of use only to the account that made them. So every
id of a response, and every encrypted content, leaves with a signed hint: which domain made it, for which caller. Any
gateway that has the key can read it; none has to remember anything.

    hints     a hint: signed, put on, verified, taken off
    bodies    where in requests, answers and events such ids and contents are
    placing   which of a Backend's providers may be asked for what carries hints

All of it is pure.
"""
