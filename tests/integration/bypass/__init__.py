"""Every way round a guardrail that anybody has thought of: each event that carries text, in each disguise, under each
action. Nothing that is blocked or masked gets through, and nothing else is stopped.

    shapes     events that carry a text
    disguises  one event on the wire, so that a careless reader overlooks what it says
    sessions   a session under a guardrail, between a client and an upstream that are scripted
"""
