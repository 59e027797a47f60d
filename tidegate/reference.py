"""References for readers, made from the code: `python -m tidegate.reference [--check]`.

docs/reference/errors.md from the data plane's catalogue of refusals, endings.md from the table of how sessions end,
cli.md from the commands. The references of the API and of the metrics are made where those live.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import typer
from typer.core import TyperCommand, TyperGroup

from crds.artefacts import keep
from dataplane.errors import CATALOGUE
from dataplane.realtime.endings import ENDINGS, Ending
from tidegate.cli import EXIT_CODES, app

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"
_PLAIN: Final = re.compile(r" <(str|list\[(str|Path)\])>$")
"""Types of arguments that say nothing to a reader."""
_MADE: Final = "<!-- Made from {source} by `python -m tidegate.reference`; edit that. -->\n\n"


def errors() -> str:
    """The page about refusals, in Markdown."""
    kinds = sorted(CATALOGUE.items(), key=lambda each: each[1].status)
    rows = ((str(kind.status), f"`{code}`", f"`{kind.type}`", kind.meaning) for code, kind in kinds)
    table = _table(("Status", "Code", "Type", "What happened, and what to do"), rows)
    return _MADE.format(source="dataplane/errors.py") + _ERRORS + table


def endings() -> str:
    """The page about how sessions end, in Markdown."""
    raised = _endings(each for each in ENDINGS if not each.reserved)
    reserved = _endings(each for each in ENDINGS if each.reserved)
    return _MADE.format(source="dataplane/realtime/endings.py") + _ENDINGS + raised + _RESERVED + reserved


def _endings(rows: Iterable[Ending]) -> str:
    return _table(
        ("Label", "Who ended it", "Close code", "Event sent first", "What happened"),
        (
            (f"`{each.label}`", each.initiator, str(each.code), _event(each), each.meaning)
            for each in sorted(rows, key=lambda each: ("client", "upstream", "gateway").index(each.initiator))
        ),
    )


def command_line() -> str:
    """The page about the commands, in Markdown."""
    group = typer.main.get_group(app)
    context = typer.Context(group, info_name="tidegate")
    parts = _below("tidegate", group, context)
    page = _COMMANDS + "\n".join([*parts, "## Exit codes", "", _EXITS, ""])
    return _MADE.format(source="tidegate/cli.py, serve_options.py and dataplane_options.py") + page


def _command(name: str, command: TyperCommand | TyperGroup, parent: typer.Context) -> Iterator[str]:
    """A command, and those below it."""
    context = typer.Context(command, info_name=name, parent=parent)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parameters = [record for each in command.params if (record := each.get_help_record(context))]
    yield f"## {name}\n"
    yield f"`{usage}`\n"
    yield f"{(command.help or '').strip()}\n"
    if parameters:
        yield _table(
            ("Option", "Meaning"), ((f"`{_PLAIN.sub('', option)}`", meaning) for option, meaning in parameters)
        )
    if isinstance(command, TyperGroup):
        yield from _below(name, command, context)


def _below(name: str, group: TyperGroup, context: typer.Context) -> Iterator[str]:
    for each, command in group.commands.items():
        if isinstance(command, TyperCommand | TyperGroup):
            yield from _command(f"{name} {each}", command, context)


def _event(ending: Ending) -> str:
    return f"`error`: type `{ending.event[0]}`, code `{ending.event[1]}`" if ending.event else "none"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(_row(row) for row in (head, ["---"] * len(head), *rows))


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |\n"


_ERRORS: Final = """\
# Errors

What the gateway answers when it does not serve a request. The body has OpenAI's shape, so that clients raise the
exceptions that they have; clients may branch on `code`, which stays, and people read `message`, which is more precise
than the table here. Every answer has the header `x-tidegate-request-id` (but for the 101 of a Passthrough WebSocket,
which is the provider's own). In the gateway's log it is the `id` of a realtime session, and stands beside an
`internal_error`; other refusals are not logged, but counted by code in `tidegate_http_requests_total`.

```json
{"error": {"message": "…", "type": "not_found_error", "param": null, "code": "model_not_found"}}
```

A realtime session is refused in the same way, with an HTTP status before the upgrade. What can end it afterwards is
in [how a session ends](endings.md). A provider's own 429 and 503 reach the client as they were.

"""
_ENDINGS: Final = """\
# How a session ends

Every realtime session ends in one of these ways. The label is `reason` in the log line of the session and in the metric
`tidegate_realtime_closes_total`. Where somebody said Close, its code and reason are relayed as they came, and the close
code here is for the other side where there is nothing to relay. An event is sent first where one would help: it says
more than a close code can. What is refused before a session begins is in [errors](errors.md).

"""
_RESERVED: Final = """
## Not raised yet

Nothing ends a session in these ways yet. Labels, codes and events are set down so that clients can be written for them.

"""
_COMMANDS: Final = """\
# The command line

`tidegate --help` and `tidegate COMMAND --help` say the same. `tidegate --install-completion` sets up completion for
your shell.

"""
_EXITS: Final = EXIT_CODES.removeprefix("Exit codes: ")[:1].upper() + EXIT_CODES.removeprefix("Exit codes: ")[1:]


if __name__ == "__main__":
    pages = {"errors.md": errors(), "endings.md": endings(), "cli.md": command_line()}
    sys.exit(keep({FOLDER / name: text for name, text in pages.items()}, sys.argv[1:], "tidegate.reference"))
