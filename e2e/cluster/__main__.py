"""`make cluster`: keep a cluster running until it is interrupted."""

from __future__ import annotations

import signal
import sys
import time

import processes

from cluster.control_plane import ControlPlane
from cluster.programs import BIN, Ended

FOLDER = processes.ROOT / ".cache" / "cluster" / "run"


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ControlPlane(FOLDER) as plane:
            print(_welcome(plane), flush=True)
            while True:
                plane.check()
                time.sleep(1)
    except KeyboardInterrupt:
        return 0
    except Ended as ended:
        print(f"\n{ended}\nThe cluster is down.", file=sys.stderr)
        return 1


def _welcome(plane: ControlPlane) -> str:
    return f"""
The cluster is up at {plane.url}. Ctrl-C ends it; nothing of it is kept. In another terminal:

  export KUBECONFIG={plane.kubeconfig} PATH={BIN}:$PATH
  .venv/bin/tidegate crds | kubectl apply --server-side -f -

Its logs are in {plane.folder}. With that KUBECONFIG, `make e2e` runs against it.
"""


sys.exit(main())
