"""A real Kubernetes, built from its Go modules by `build`: `make cluster` keeps one running, tests have the fixture
`cluster`.

`access` is what a test does with any cluster, `control_plane` starts an API server on loopback, and `programs` are the
processes that it consists of. `lock` sets what versions are built.
"""
