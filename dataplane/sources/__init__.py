"""Where tables come from, if not from files beside the gateway: from the controllers of a cluster.

    subscription   what is done with the offers of several controllers (pure)
    transfer       what is asked for of one offer, and what has come (pure)
    building       a table from what has come and what is served (pure)
    dialling       where controllers are, how they are reached, and what to do where they are not
    replicas       all of them, each dialled again and again; `line` is one connection
    loading        what has come is loaded
    controller     all of that together: the connections, and the one table after the other that comes of them
    telling        what controllers are told of how providers are doing
    boot           the snapshot that is started from where no controller answers

A data plane dials every replica of the controller and says what it has. What it holds decides: it takes an offer unless
that is older. So a replica that lags behind never takes it back, and one that restarts changes nothing.
"""
