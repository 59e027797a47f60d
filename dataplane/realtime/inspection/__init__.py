"""Guardrails inside a session: what the client says, what the model says, and who else is asked about either. Pure.

output     what the model says: which response an event is of, and what becomes of one that may not be shown
           (judging: what is shown of each event; withheld: what waits, and in which order)
questions  what webhooks and moderations are asked, until they have answered
"""
