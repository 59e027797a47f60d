"""Guardrails inside a session: what the client says, what the model says, and who else is asked about either. Pure.

questions  what webhooks and moderations are asked, until they have answered
"""
