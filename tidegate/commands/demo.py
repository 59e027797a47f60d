"""`tidegate demo`: a simulated provider, a gateway, and a session through both, in one process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import aiohttp
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataplane.process import logs
from simulator.server import Simulator
from tidegate import client, running
from tidegate.addresses import Address
from tidegate.demo import books, configuration
from tidegate.demo.conversation import Conversation
from tidegate.documents import Documents
from tidegate.exits import Exit, Stop
from tidegate.loading import NotLoaded
from tidegate.standalone import Options, Standalone

_ANY_PORT = Address("127.0.0.1", 0)
_PACE = "slow:15"
"""A scenario of the simulator: pieces of an answer this many ms apart, so that it can be seen to stream."""
_STYLES = {"you": "bold cyan", "model": "bold green", "heard": "dim", "function": "bold magenta", "": "dim"}

_NEXT = """\
What to try next:
  tidegate simulate                        the simulated provider, on port 9100, with all its scenarios
  tidegate serve -f examples/openai.yaml   a gateway of your own (set OPENAI_API_KEY)
  tidegate talk ws://127.0.0.1:8080 --model gpt-realtime
  tidegate explain /v1/realtime -f examples/local-vllm.yaml --model qwen
  tidegate --help
After `make demo` the command is in .venv/bin: export PATH=$PWD/.venv/bin:$PATH"""


def run() -> Exit:
    """Show everything. FAILED if the books differ. Raises Stop."""
    logs.configure("console", "warning")
    return running.run(show(Console(highlight=False, soft_wrap=True)))


async def show(console: Console) -> Exit:
    """The same, on this screen."""
    async with Simulator(keys=frozenset({configuration.PROVIDER_KEY})) as simulator:
        with tempfile.TemporaryDirectory() as folder:
            served = await _serve(simulator.url, Path(folder) / "voice.yaml", console)
            try:
                await _converse(served, console)
                return await _show_books(simulator, served, console)
            finally:
                await served.stop()


async def _serve(simulator: str, path: Path, console: Console) -> Standalone:
    console.rule("the configuration: one file")
    console.print(_yaml(_written(configuration.yaml(simulator), path), console))
    served = Standalone(Options([path], _ANY_PORT, _ANY_PORT), Documents(configuration.ENVIRONMENT))
    try:
        await served.start()
    except NotLoaded as wrong:
        raise Stop(Exit.FAILED, f"the demo's own file is not accepted: {wrong}") from None
    return served


def _written(text: str, path: Path) -> str:
    path.write_text(text, "utf-8")
    return text


def _yaml(text: str, console: Console) -> Text:
    if not console.is_terminal:
        return Text(text)
    from rich.syntax import Syntax  # brings Pygments along

    return Syntax(text, "yaml", background_color="default").highlight(text)


async def _converse(served: Standalone, console: Console) -> None:
    url = f"ws://{served.address}/v1/realtime?model={configuration.MODEL}&scenario={_PACE}"
    console.rule("a session of three turns through the gateway")
    console.print(Text(f"gateway   {url.partition('&')[0]}", style="dim"))
    try:
        async with client.session(url, configuration.CALLER_KEY) as session:
            await Conversation(session, _Screen(console)).hold()
    except client.Closed as closed:
        raise Stop(Exit.FAILED, f"{closed}.") from None
    console.print()


class _Screen:
    """Shows a conversation, one line for each who speaks, as it streams."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, who: str | None, text: str) -> None:
        if who is not None:
            self._console.print(Text(f"\n{who:<10}", style=_STYLES[who]), end="")
        self._console.print(Text(text, style="dim" if who in ("", "heard") else ""), end="")


async def _show_books(simulator: Simulator, served: Standalone, console: Console) -> Exit:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{simulator.url}/_ledger") as ledger:
            totals = (await ledger.json())["totals"]
        async with http.get(f"http://{served.admin_address}/metrics") as exposition:
            metrics = books.Metrics(await exposition.text())
    console.rule("what it used")
    console.print(_models(metrics))
    entries = books.compare(totals, metrics)
    console.rule("the provider's ledger beside the gateway's metrics")
    console.print(_entries(entries))
    if not books.agree(entries):
        console.print(Text("The books differ. This is a bug: please report it.", style="bold red"))
        return Exit.FAILED
    console.print(Text("Equal, to the token.\n", style="bold green"))
    console.print(Text(_NEXT))
    return Exit.OK


def _models(metrics: books.Metrics) -> Table:
    used = metrics.models()
    in_all = f"{sum(use.usd for use in used.values()):.6f} USD in all, by the price catalogue"
    table = Table("tokens", box=box.SIMPLE_HEAD, caption=in_all)
    for model in used:
        table.add_column(model, justify="right")
    for kind in dict.fromkeys(kind for use in used.values() for kind in use.tokens):
        table.add_row(kind, *(str(use.tokens.get(kind, "")) for use in used.values()))
    table.add_row("cost", *(f"{use.usd:.6f} USD" for use in used.values()), style="bold")
    return table


def _entries(entries: list[books.Entry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("tokens", no_wrap=True)
    for column in ("provider billed", "gateway counted", ""):
        table.add_column(column, justify="right")
    for entry in entries:
        table.add_row(entry.name, str(entry.billed), str(entry.counted), "=" if entry.billed == entry.counted else "≠")
    return table
