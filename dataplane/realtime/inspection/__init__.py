"""Guardrails inside a session: what the client says, what the model says, and who else is asked about either. Pure.

input      events of the client's: they go on, wait, or are refused (line: those that wait)
telling    what is said of a block
questions  what webhooks and moderations are asked, until they have answered
"""
