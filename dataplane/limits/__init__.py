"""Limits: how much callers may take, of requests, tokens, money and sessions, and what they have taken.

    windows    seconds to months by the UTC calendar (pure)
    subjects   whose use is added up (pure)
    spending   what a turn may cost before anybody knows what it costs (pure)
    tally      what is counted of one subject, and whether there is room for more (pure)
    wording    refusals and header fields that say so (pure)
    budget     what limits one caller on one Backend: it is asked before anything is taken
    limiter    all tallies of this process, and the newest table's maxima
    script     how processes count together: the one script of the store, and its arguments (pure)
    fleet      tallies that are counted together: asked for and told, one script at a time for each
    store      the connection to Redis or Valkey

Before a turn begins, some tokens are set aside; when it is over, what it used takes their place. So limits are passed
by no more than what the turns that are under way take beyond what was set aside for them.
"""
