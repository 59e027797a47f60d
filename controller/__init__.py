"""The control plane: from what people declare to what the data plane serves.

`controller.compile` is its heart, and all of it that runs without a cluster: a pure function from Kubernetes
documents to a routing table, the secrets that the table names, and the status of every object. The command line
compiles files with it; in a cluster, whoever watches the API server calls the same function with what it saw. So a
file that `tidegate validate` accepts is accepted by a cluster too, and both serve the same table.

This package imports `crds` (the API), `dataplane.table` (the contract) and `dataplane.jwks` (how key sets are read),
and nothing else of ours.
"""
