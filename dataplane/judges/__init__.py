"""Who else judges what is said: webhooks and moderations are asked, and what guardrails find is told.

about  what a text is part of (pure)
panel  all of them
"""
