"""`tidegate simulate`: the provider's double, until it is interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dataplane.process import logs
from simulator.kinds import KINDS, PREFIX, TITLES, Kind
from simulator.scenarios import NAMES, ScenarioError, Scenarios
from simulator.server import Simulator
from tidegate import addresses, running
from tidegate.exits import Exit, Stop, listening_on

DEFAULT_KEY = "sk-simulator"


def run(listen: str, keys: Sequence[str], scenarios: Path | None, provider: str) -> None:
    """Serve until a signal comes. Raises Stop."""
    address = addresses.parse(listen, "--listen")
    kind = next((each for each in KINDS if each == provider), None)
    if kind is None:
        raise Stop(Exit.USAGE, f"--provider: {provider} is none of {', '.join(KINDS)}.")
    simulator = Simulator(kind=kind, keys=frozenset(keys or [DEFAULT_KEY]), scenarios=_load(scenarios))
    running.run(_serve(simulator, kind, address, known=not keys))


async def _serve(simulator: Simulator, kind: Kind, address: addresses.Address, *, known: bool) -> None:
    with listening_on(str(address), "--listen"):
        await simulator.start(address.host, address.port)
    try:
        logs.say(_banner(simulator.url, kind, known=known))
        await running.Signals().stopped()
    finally:
        await simulator.stop()


def _banner(url: str, kind: Kind, *, known: bool) -> str:
    width = max(map(len, NAMES))
    names = "\n".join(f"  {name:{width}}  {about}" for name, about in NAMES.items())
    key = f"the API key {DEFAULT_KEY}" if known else "an API key given with --key"
    return f"""\
A simulated {TITLES[kind]} API serves {url}{PREFIX[kind]} to whoever shows {key}.
What it billed: GET {url}/_ledger

Scenarios, several joined by commas ("slow:20,fail"). A client chooses with ?scenario=… in the URL, or with
metadata.scenario of one completion or response; a file with --scenarios:
{names}
"""


def _load(path: Path | None) -> Scenarios:
    if path is None:
        return Scenarios()
    try:
        return Scenarios.load(path.read_text("utf-8"))
    except OSError as error:
        raise Stop(Exit.FAILED, f"{path}: {error.strerror}.") from None
    except (ScenarioError, UnicodeDecodeError) as error:
        raise Stop(Exit.FAILED, f"{path}: {error}") from None
