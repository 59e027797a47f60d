"""The command line, and the composition root that joins the compiler and the data plane in one process.

cli                  the commands and their options (of serve: `serve_options`); each loads its module when it is called
commands/serve       a gateway on this machine: `standalone` joins files, compiler and data plane, and reloads;
                     `watching` tells when, `banner` says what is served
commands/dataplane   a gateway in a cluster: `subscribed` serves what controllers offer
assembly, serving    what both are: a data plane put together; its options, its start and its end
loading              where its table comes from: `compiling` reads and compiles files, after the first time in a process
                     of its own (`worker`)
commands/simulate    the provider's double
commands/demo        both in one process and a session through them; its parts are in demo/
commands/talk        a realtime client for a terminal; `client` holds the session, `tokens` words its usage
commands/importing   `import`: other gateways' files made into ours, which importing/ does
commands/inspect     `validate`, `explain` (in explain, explain_models, explain_limits), and the CRDs
asking               what commands ask a running gateway, at its admin port
documents            files to Kubernetes documents, each with its place; `yaml_text` is strict about YAML,
                     `yaml_scalars` reads plain text in it as kubectl does
running, addresses   the process: loop, signals, limits; where it listens
exits                exit codes, and the errors that are foreseen
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tidegate")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "unknown"
