"""The options of `tidegate dataplane` that `tidegate serve` does not have, or has with other defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Controller = Annotated[
    list[str],
    typer.Option(
        help="Where controllers are; of a name that has several addresses, all are asked. May be repeated.",
        metavar="HOST:PORT",
        show_default=False,
    ),
]
ControllerCa = Annotated[
    Path,
    typer.Option(
        help="Authorities that sign the controllers' certificates (PEM); read again at each dial.",
        metavar="FILE",
        show_default=False,
    ),
]
TokenFile = Annotated[
    Path,
    typer.Option(
        help="The pod's ServiceAccount token for the audience tidegate-controller; read again at each dial.",
        metavar="FILE",
        show_default=False,
    ),
]
Boot = Annotated[
    Path | None,
    typer.Option(
        help="A folder with the last table and its secrets, as controllers keep it: served where no controller "
        "answers, until one does.",
        metavar="DIR",
        show_default=False,
    ),
]
Pod = Annotated[
    str,
    typer.Option(
        envvar="POD_NAME", help="The pod's name. Default: that of the host.", metavar="NAME", show_default=False
    ),
]
DrainLameDuck = Annotated[
    str,
    typer.Option(
        help="After SIGTERM: how long to be not ready and accept all the same, until load balancers have noticed.",
        metavar="DURATION",
    ),
]
DrainLinger = Annotated[
    str,
    typer.Option(
        help="Then: how long /metrics waits for two more scrapes; not at all where nobody ever scraped.",
        metavar="DURATION",
    ),
]
