"""The control plane: from what people declare to what the data plane serves.

`controller.compile` is its heart, and all of it that runs without a cluster: a pure function from Kubernetes
documents to a routing table, the secrets that the table names, and the status of every object. The command line
compiles files with it; in a cluster `operator` calls the same function with what the API server has. So a file that
`tidegate validate` accepts is accepted by a cluster too, and both serve the same table.

    watching.py sweeping.py following.py   events and lists      (api.py: the API server)
        → mirror.py needed.py kinds.py     what the cluster says, as far as it is known
        → operator.py                      gathers changes, compiles beside its loop, publishes
        → push/                            tables to data planes (pods.py: to which; trust.py certificates.py: by what)
        → programmed.py healthy.py         what they have confirmed, and find of providers
        → reporting.py writing.py          statuses              (status.py conditions.py addresses.py: what is new)

    leader.py election.py                  who writes            (duties.py keeping.py: what else the leader keeps)
    settings.py admin.py metrics.py        the install's wishes, health and numbers

Every replica does all of it, and the one that leads writes. Nothing here is triggered by an edge: whatever was missed
or has failed is put right the next time that somebody looks.

This package imports `crds` (the API), `dataplane.table` (the contract) and `dataplane.jwks` (how key sets are read),
and nothing else of ours.
"""
