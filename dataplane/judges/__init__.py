"""Who else judges what is said: webhooks and moderations are asked, and what guardrails find is told.

about   what a text is part of (pure)
asking  what they are asked, and what they say (pure)
post    one question by HTTP
room    how much of that is under way
panel   all of them: their time, their number, what is counted and logged
"""
