"""The command line, and the composition root that joins the compiler and the data plane in one process.

cli           the commands and their options; each loads its module when it is called
├─ commands/serve      run a gateway on this machine     ─ standalone   files → compile → gateway, and reloads
│                                                          ├─ watching   when the files have changed
│                                                          └─ banner     what is served, for people
├─ commands/simulate   run the provider's double
├─ commands/demo       both in one process, and a session through them   ─ demo/
├─ commands/talk       a realtime client for a terminal  ─ client       the session's events, over `websockets`
└─ commands/inspect    validate, explain, crds           ─ validate, explain
documents     YAML files to documents, with places for errors
exits         exit codes, and the errors that are foreseen
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tidegate")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "unknown"
