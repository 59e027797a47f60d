"""The options of `tidegate serve`, as `--help` tells of them; their defaults are in the command's signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Listen = Annotated[str, typer.Option(help="Where clients connect; port 0 takes a free one.", metavar="HOST:PORT")]
Admin = Annotated[
    str,
    typer.Option(
        help="Where /healthz, /readyz, /metrics, /table, /sessions and /limits are; DELETE /sessions/ID ends a "
        "session. The last three answer this machine alone, and whoever shows the token in TIDEGATE_ADMIN_TOKEN.",
        metavar="HOST:PORT",
    ),
]
TlsCert = Annotated[
    Path | None, typer.Option(help="Certificate chain (PEM) for clients.", metavar="FILE", show_default=False)
]
TlsKey = Annotated[Path | None, typer.Option(help="Its private key (PEM).", metavar="FILE", show_default=False)]
AffinityKeyFile = Annotated[
    Path | None,
    typer.Option(
        help="A file of keys that sign ids of responses and encrypted content, so that they lead back to the provider "
        "that made them: 32 characters or more on each line, the first key signs, the others did so before. Gateways "
        "that share it know each other's. Without it, what one process signed is of no use to another, nor when it "
        "was started anew.",
        metavar="FILE",
        show_default=False,
    ),
]
ReusePort = Annotated[
    bool,
    typer.Option(
        "--reuse-port",
        help="Share the address of --listen with other processes of this command that say so, too: the kernel "
        "spreads connections over them. Each needs an --admin of its own.",
    ),
]
UpstreamsAllow = Annotated[
    list[str] | None,
    typer.Option(
        help="A private network (CIDR) that upstreams may be in; loopback always is. May be repeated.",
        metavar="CIDR",
        show_default=False,
    ),
]
UpstreamProxy = Annotated[
    str,
    typer.Option(
        help="An HTTP proxy that upstreams are called through (CONNECT): http://[USER@]HOST:PORT. Its password is "
        "taken from TIDEGATE_UPSTREAM_PROXY_PASSWORD; HTTPS_PROXY and its like mean nothing here.",
        metavar="URL",
        show_default=False,
    ),
]
UpstreamNoProxy = Annotated[
    list[str] | None,
    typer.Option(
        help="What is called directly all the same: a name with all below it, or a network (CIDR) that addresses are "
        "in; '*' is everything. Several with commas between them, or repeated. This machine and Services of the "
        "cluster always are.",
        metavar="NAME-OR-CIDR",
        show_default=False,
    ),
]
TrustProxy = Annotated[
    list[str] | None,
    typer.Option(
        help="A network (CIDR) of load balancers whose X-Forwarded-For is believed: who the client is. May be "
        "repeated; without it nobody's is.",
        metavar="CIDR",
        show_default=False,
    ),
]
ProxyProtocol = Annotated[
    bool,
    typer.Option(
        "--proxy-protocol",
        help="Connections from these networks begin with a PROXY header (version 1 or 2), before TLS; one that "
        "does not is closed.",
    ),
]
MaxSessions = Annotated[
    int,
    typer.Option(
        help="Realtime sessions, and WebSockets of other paths, at a time; one more is refused with 503. "
        "0: any number, while memory lasts.",
        metavar="N",
        min=0,
    ),
]
DrainLameDuck = Annotated[
    str,
    typer.Option(
        help="After SIGTERM: how long to be not ready and accept all the same, until load balancers have noticed. "
        "Default 10s; on loopback 0.",
        metavar="DURATION",
        show_default=False,
    ),
]
DrainPatience = Annotated[
    str, typer.Option(help="Then: how long sessions may go on; nothing new is taken.", metavar="DURATION")
]
DrainClosing = Annotated[
    str, typer.Option(help="The last part of that, in which sessions end between turns.", metavar="DURATION")
]
DrainLinger = Annotated[
    str,
    typer.Option(
        help="Then: how long /metrics waits for two more scrapes; not at all where nobody ever scraped. "
        "Default 30s; on loopback 0.",
        metavar="DURATION",
        show_default=False,
    ),
]
UsageSink = Annotated[
    str,
    typer.Option(
        help="Where usage records are sent as well, by POST. A bearer token is taken from TIDEGATE_USAGE_SINK_TOKEN.",
        metavar="URL",
        show_default=False,
    ),
]
LogFormat = Annotated[
    Literal["console", "json"] | None,
    typer.Option(
        help="console is for people, json for programs. Default: console at a terminal, json elsewhere.",
        show_default=False,
    ),
]
Semconv = Annotated[
    Literal["both", "latest", "legacy"], typer.Option(help="Which generation of the GenAI metric names.")
]
