"""The commands and their options. What they do is in `tidegate.commands`, loaded when it is called: `--help` must
be quick. Foreseen errors are `Stop`s; they become one line on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from tidegate import dataplane_options, serve_options, streams
from tidegate.exits import Stop

EXIT_CODES = """\
Exit codes: 0 fine; 1 a check failed, or a file cannot be used; 2 called wrongly; 3 cannot start (the port is taken, \
the certificate cannot be read, nothing answers at the address)."""

app = typer.Typer(
    name="tidegate",
    help="A gateway for realtime LLM traffic: the same Backends and Policies on a laptop and in a cluster.\n\n"
    "Begin with `tidegate demo`. Then write a Backend, and `tidegate serve -f backend.yaml`.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Files = Annotated[
    list[Path],
    typer.Option(
        "-f",
        "--file",
        help="A YAML file, or a folder of them. May be repeated.",
        metavar="FILE-OR-DIR",
        show_default=False,
    ),
]
More = Annotated[
    list[Path] | None, typer.Argument(help="More of them, so that `-f *.yaml` works.", metavar="FILE-OR-DIR")
]


State = Annotated[
    str,
    typer.Option(
        envvar="TIDEGATE_STATE",
        help="The store in which all gateways count limits of scope Fleet together: redis://HOST:PORT, rediss:// for "
        "TLS, or unix:///PATH; Valkey is as good. The password is taken from TIDEGATE_STATE_PASSWORD, or stands in the "
        "URL: then set the variable, since other users can see arguments.",
        metavar="URL",
        show_default=False,
    ),
]


def _say_version(wanted: bool) -> None:
    if wanted:
        from tidegate import __version__

        typer.echo(f"tidegate {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command(epilog=EXIT_CODES)
def serve(
    file: Files,
    more: More = None,
    listen: serve_options.Listen = "127.0.0.1:8080",
    admin: serve_options.Admin = "127.0.0.1:9090",
    tls_cert: serve_options.TlsCert = None,
    tls_key: serve_options.TlsKey = None,
    reuse_port: serve_options.ReusePort = False,
    affinity_key_file: serve_options.AffinityKeyFile = None,
    upstreams_allow: serve_options.UpstreamsAllow = None,
    upstream_proxy: serve_options.UpstreamProxy = "",
    upstream_no_proxy: serve_options.UpstreamNoProxy = None,
    trust_proxy: serve_options.TrustProxy = None,
    proxy_protocol: serve_options.ProxyProtocol = False,
    max_sessions: serve_options.MaxSessions = 0,
    drain_lame_duck: serve_options.DrainLameDuck = "",
    drain_patience: serve_options.DrainPatience = "1h",
    drain_closing: serve_options.DrainClosing = "1m",
    drain_linger: serve_options.DrainLinger = "",
    usage_sink: serve_options.UsageSink = "",
    state: State = "",
    log_format: serve_options.LogFormat = None,
    semconv: serve_options.Semconv = "both",
) -> None:
    """Run a gateway on this machine, from YAML files.

    Reads Backends, Policies, Secrets and HTTPRoutes, serves them, and reloads when the files change. If a file cannot
    be read, or was emptied, what is served stays. An object that is wrong is left out, and what it should guard
    answers 500. The log says why. In Secrets `${NAME}` is taken from the environment. On loopback callers need no key
    unless a Policy asks for one.

    SIGHUP reloads. SIGTERM waits for sessions to end by themselves, in the phases that the drain options set; Ctrl-C,
    and a second SIGTERM, end them now. Every session is told, and its usage is settled.

    Example: `OPENAI_API_KEY=… tidegate serve -f examples/openai.yaml`
    """
    from tidegate.commands import serve as command

    command.run(
        command.Options(
            files=[*file, *(more or [])],
            listen=listen,
            admin=admin,
            tls_cert=tls_cert,
            tls_key=tls_key,
            reuse_port=reuse_port,
            affinity_key_file=affinity_key_file,
            upstreams_allow=upstreams_allow or [],
            upstream_proxy=upstream_proxy,
            upstream_no_proxy=upstream_no_proxy or [],
            trust_proxy=trust_proxy or [],
            proxy_protocol=proxy_protocol,
            max_sessions=max_sessions,
            drain_lame_duck=drain_lame_duck,
            drain_patience=drain_patience,
            drain_closing=drain_closing,
            drain_linger=drain_linger,
            usage_sink=usage_sink,
            state=state,
            log_format=log_format,
            semconv=semconv,
        )
    )


@app.command(epilog=EXIT_CODES)
def controller(
    config: Annotated[
        Path,
        typer.Option(
            help="The install's settings (YAML), as the chart makes them.", metavar="FILE", show_default=False
        ),
    ],
    listen: Annotated[
        str, typer.Option(help="Where data planes fetch their tables.", metavar="HOST:PORT")
    ] = "0.0.0.0:9443",
    admin: Annotated[
        str, typer.Option(help="Where /healthz, /readyz and /metrics are.", metavar="HOST:PORT")
    ] = "0.0.0.0:9091",
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            help="The cluster, where this does not run in a pod of it. Default: $KUBECONFIG, or ~/.kube/config.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    log_format: serve_options.LogFormat = None,
) -> None:
    """Run the operator of a cluster, from inside it or from outside.

    Watches Backends, Policies and what they refer to, compiles them, hands the table to every data plane that asks for
    it, and writes statuses. Any number of replicas may run: all hand out tables, and the one that holds the Lease
    writes. The chart runs it; needs the extra `tidegate[controller]`.

    Example: `tidegate controller --config settings.yaml --kubeconfig ~/.kube/config`
    """
    from tidegate.commands import controller as command

    command.run(command.Options(config, listen, admin, kubeconfig, log_format))


@app.command(epilog=EXIT_CODES)
def dataplane(
    controller: dataplane_options.Controller,
    controller_ca: dataplane_options.ControllerCa,
    token_file: dataplane_options.TokenFile,
    boot: dataplane_options.Boot = None,
    pod: dataplane_options.Pod = "",
    listen: serve_options.Listen = "0.0.0.0:8080",
    admin: serve_options.Admin = "0.0.0.0:9090",
    tls_cert: serve_options.TlsCert = None,
    tls_key: serve_options.TlsKey = None,
    upstream_proxy: serve_options.UpstreamProxy = "",
    upstream_no_proxy: serve_options.UpstreamNoProxy = None,
    trust_proxy: serve_options.TrustProxy = None,
    proxy_protocol: serve_options.ProxyProtocol = False,
    max_sessions: serve_options.MaxSessions = 0,
    drain_lame_duck: dataplane_options.DrainLameDuck = "10s",
    drain_patience: serve_options.DrainPatience = "1h",
    drain_closing: serve_options.DrainClosing = "1m",
    drain_linger: dataplane_options.DrainLinger = "30s",
    usage_sink: serve_options.UsageSink = "",
    state: State = "",
    log_format: serve_options.LogFormat = None,
    semconv: serve_options.Semconv = "both",
) -> None:
    """Run a gateway in a cluster: the chart does.

    Serves what controllers offer, and goes on serving it while none answers. It is ready once it has a table; before,
    /readyz says what it waits for. SIGTERM waits for sessions to end by themselves, as with `tidegate serve`.
    """
    from tidegate.commands import dataplane as command

    command.run(
        command.Options(
            controller=controller,
            controller_ca=controller_ca,
            token_file=token_file,
            boot=boot,
            pod=pod,
            listen=listen,
            admin=admin,
            tls_cert=tls_cert,
            tls_key=tls_key,
            upstream_proxy=upstream_proxy,
            upstream_no_proxy=upstream_no_proxy or [],
            trust_proxy=trust_proxy or [],
            proxy_protocol=proxy_protocol,
            max_sessions=max_sessions,
            drain_lame_duck=drain_lame_duck,
            drain_patience=drain_patience,
            drain_closing=drain_closing,
            drain_linger=drain_linger,
            usage_sink=usage_sink,
            state=state,
            log_format=log_format,
            semconv=semconv,
        )
    )


@app.command(epilog=EXIT_CODES)
def validate(
    file: Files,
    more: More = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    state: State = "",
) -> None:
    """Check objects as a cluster would; exit 1 if something is not accepted.

    Each condition has a reason and a message that says what to do; errors have file, document and field. As in a
    cluster, a Backend that injects a credential is not Ready until a Policy says which keys callers need. With --state,
    limits of scope Fleet are taken to have a store, which is not asked.

    Example: `tidegate validate -f examples/local-vllm.yaml`
    """
    from tidegate.commands import inspect

    raise typer.Exit(inspect.validate([*file, *(more or [])], json=json, state=state))


@app.command(epilog=EXIT_CODES)
def explain(
    path: Annotated[
        str,
        typer.Argument(help="What a client would ask for, such as /v1/realtime.", metavar="PATH", show_default=False),
    ],
    file: Files,
    more: More = None,
    host: Annotated[str, typer.Option(help="The Host that the client sends.", metavar="HOST", show_default=False)] = "",
    method: Annotated[str, typer.Option(help="The HTTP method.", metavar="METHOD")] = "GET",
    model: Annotated[str, typer.Option(help="The model that is asked for.", metavar="MODEL", show_default=False)] = "",
    key_name: Annotated[
        str,
        typer.Option(
            help="Name of the caller: of its key, or in its token. Absent: some caller whom the route lets in.",
            metavar="NAME",
            show_default=False,
        ),
    ] = "",
    header: Annotated[
        list[str] | None,
        typer.Option(
            "-H", "--header", help="A header, as 'NAME: VALUE'. May be repeated.", metavar="HEADER", show_default=False
        ),
    ] = None,
    admin: Annotated[
        str,
        typer.Option(
            help="The admin port of a running gateway, which is asked what is left of limits and how providers are "
            "doing; http:// may stand before it. On another machine it needs the gateway's TIDEGATE_ADMIN_TOKEN in the "
            "environment.",
            metavar="HOST:PORT",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Say what holds for a request, and which Policy says so.

    The route, the Backend, the type of the path, the target of the model, and every Policy that applies, as `tidegate
    serve` on loopback would have it; exit 1 if the request would be refused.

    Example: `tidegate explain /v1/realtime -f examples/local-vllm.yaml --model qwen`
    """
    from tidegate.commands import inspect

    raise typer.Exit(
        inspect.explain(
            path,
            [*file, *(more or [])],
            host=host,
            method=method,
            model=model,
            key_name=key_name,
            headers=header or [],
            admin=admin,
        )
    )


@app.command(epilog=EXIT_CODES)
def guard(
    file: Files,
    text: Annotated[
        list[str] | None,
        typer.Argument(help="What is said. Absent: each line of stdin.", metavar="TEXT", show_default=False),
    ] = None,
    direction: Annotated[
        Literal["input", "output"], typer.Option(help="Whether it goes to the model, or comes from it.")
    ] = "input",
    upstreams_allow: serve_options.UpstreamsAllow = None,
) -> None:
    """Try guardrails: say something, and see what becomes of it; exit 1 if something would be blocked.

    For each text a line says what becomes of it (passes, masked, blocked), and one below it what each guardrail found.
    All guardrails of all Policies in the files are tried, whatever they are attached to, with those that are optional
    and those for some callers only. Webhooks and moderations are asked, with the credentials of Secrets in the files,
    in which a variable that is not set is empty; who cannot be asked is named, and not tried. Texts that begin with a
    dash come behind `--`.

    Example: `tidegate guard -f examples/guardrails.yaml "my card is 4111 1111 1111 1111"`
    """
    from tidegate.commands import guard as command

    raise typer.Exit(command.run(file, text or [], direction, upstreams_allow or []))


@app.command("import", epilog=EXIT_CODES)
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Files to import; '-' is stdin. Several files of LiteLLM are one configuration.",
            metavar="FILE...",
            show_default=False,
        ),
    ],
    origin: Annotated[
        Literal["litellm", "agentgateway"] | None,
        typer.Option("--from", help="Whose files they are. Default: what they look like.", show_default=False),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", help="A folder to write to, or '-' for stdout.", metavar="FOLDER")
    ] = "-",
    namespace: Annotated[
        str, typer.Option(help="Namespace of what names none in the files.", metavar="NAMESPACE")
    ] = "default",
) -> None:
    """Make Backends, Policies and Secrets of LiteLLM's config.yaml, or of agentgateway's resources.

    On stderr every field is named that was dropped or has become something else, with file, line and what to do
    instead. What LiteLLM takes from the environment, `serve` does: `${NAME}` in Secrets. Keys that stand in the files
    stand in the Secrets, and nowhere else. Exit 2 where nothing can be imported.

    Example: `tidegate import config.yaml -o gateway` and `tidegate serve -f gateway`
    """
    from tidegate.commands import importing as command

    command.run(command.Options(files, origin, output, namespace))


@app.command(epilog=EXIT_CODES)
def simulate(
    listen: Annotated[
        str, typer.Option(help="Where to listen; port 0 takes a free one.", metavar="HOST:PORT")
    ] = "127.0.0.1:9100",
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="An API key to accept instead of sk-simulator. May be repeated.",
            metavar="KEY",
            show_default=False,
        ),
    ] = None,
    scenarios: Annotated[
        Path | None,
        typer.Option(help="A YAML file of scenarios by model and text.", metavar="FILE", show_default=False),
    ] = None,
    provider: Annotated[
        str, typer.Option(help="Whose API: openai, azure or xai, each with its own ways.", metavar="KIND")
    ] = "openai",
) -> None:
    """Run a simulated provider's API: realtime, chat completions, and a ledger of what they would bill.

    It answers at once and for nothing, or as slowly and wrongly as a scenario says; it lists the scenarios when it
    starts. `GET /_ledger` has every turn as its usage was sent.

    Example: `tidegate simulate` and, in a provider of a Backend, `url: http://127.0.0.1:9100/v1`
    """
    from tidegate.commands import simulate as command

    command.run(listen, key or [], scenarios, provider)


@app.command(epilog=EXIT_CODES)
def demo() -> None:
    """See it work: a gateway, a simulated provider, and a session of three turns through both.

    Everything runs on free loopback ports of this machine; no key and no network are needed. Ends with the tokens
    by modality, their cost, and the provider's ledger beside the gateway's metrics; exit 1 if these differ.

    Example: `tidegate demo`
    """
    from tidegate.commands import demo as command

    raise typer.Exit(command.run())


@app.command(epilog=EXIT_CODES)
def talk(
    url: Annotated[
        str,
        typer.Argument(
            help="The gateway's base URL, such as ws://HOST:PORT or ws://HOST:PORT/ai/voice/v1; /v1/realtime is added "
            "where it is missing.",
            metavar="URL",
            show_default=False,
        ),
    ],
    model: Annotated[str, typer.Option(help="The model to talk with.", metavar="MODEL", show_default=False)] = "",
    key: Annotated[
        str,
        typer.Option(
            envvar="TIDEGATE_KEY",
            help="The key to show. Prefer the variable: other users can see arguments.",
            metavar="KEY",
            show_default=False,
        ),
    ] = "",
    header: Annotated[
        list[str] | None,
        typer.Option(
            "-H",
            "--header",
            help="A header to send, as 'NAME: VALUE': where a key belongs elsewhere than into Authorization. May be "
            "repeated.",
            metavar="HEADER",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Say this instead of reading stdin. May be repeated.", metavar="TEXT", show_default=False),
    ] = None,
    voice_file: Annotated[
        Path | None,
        typer.Option(help="Say a recording first: WAV, 16-bit mono 24 kHz.", metavar="FILE", show_default=False),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print every event as JSON instead of the text.")] = False,
) -> None:
    """Talk with a model in a realtime session, a line at a time.

    Type a line, read the answer; Ctrl-D ends. In a pipe each line of stdin is a turn: answers go to stdout, usage
    and errors to stderr.

    Example: `tidegate talk ws://127.0.0.1:8080 --model gpt-realtime`
    """
    from tidegate.commands import talk as command

    raise typer.Exit(command.run(url, model, key, header or [], text or [], voice_file, raw=raw))


AdminPort = Annotated[
    str,
    typer.Option(
        "--admin",
        envvar="TIDEGATE_ADMIN",
        help="The admin port of the gateway; http:// may stand before it.",
        metavar="HOST:PORT",
    ),
]
sessions = typer.Typer(
    invoke_without_command=True,
    help="List the realtime sessions of a running gateway, or end them.\n\n"
    "Shows what each has used so far, by what the provider has reported. With `kubectl port-forward` it reaches the "
    "admin port of a pod; on another machine it needs the gateway's TIDEGATE_ADMIN_TOKEN in the environment."
    "\n\nExample: `tidegate sessions` and `tidegate sessions end 3f2a`",
    epilog=EXIT_CODES,
)
app.add_typer(sessions, name="sessions")


@sessions.callback()
def list_sessions(
    context: typer.Context,
    admin: AdminPort = "127.0.0.1:9090",
    json: Annotated[bool, typer.Option("--json", help="Print all that is known as JSON.")] = False,
) -> None:
    """List the sessions, unless a command follows."""
    if context.invoked_subcommand is None:
        from tidegate.commands import sessions as command

        raise typer.Exit(command.show(admin, as_json=json))
    context.obj = admin


@sessions.command("end", epilog=EXIT_CODES)
def end_sessions(
    context: typer.Context,
    name: Annotated[
        list[str] | None,
        typer.Argument(help="The id of a session, or how it begins.", metavar="ID", show_default=False),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="End all of them.")] = False,
    admin: Annotated[
        str, typer.Option(help="The admin port of the gateway.", metavar="HOST:PORT", show_default=False)
    ] = "",
) -> None:
    """End sessions: each gets an event that says so and a Close (1001), and its usage is settled.

    Example: `tidegate sessions end 3f2a`
    """
    from tidegate.commands import sessions as command

    raise typer.Exit(command.end(admin or context.obj, name or [], everyone=everyone))


@app.command(epilog=EXIT_CODES)
def crds(
    kind: Annotated[
        Literal["backend", "policy"] | None, typer.Argument(help="Only this one.", show_default=False)
    ] = None,
) -> None:
    """Print the CustomResourceDefinitions of Backend and Policy.

    Example: `tidegate crds | kubectl apply --server-side -f -`
    """
    from tidegate.commands import inspect

    inspect.crds(kind or "")


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Raises SystemExit, always."""
    streams.open_closed()
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="tidegate")
    except Stop as stop:
        typer.echo(f"tidegate: {stop.message}", err=True)
        sys.exit(stop.code)
