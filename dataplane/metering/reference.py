"""Makes `docs/reference/metrics.md` from the declarations: `python -m dataplane.metering.reference [--check] [FILE]`.

With `--check` nothing is written; exit code 1 says that the file is stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dataplane.metering.counters import Gauge, Histogram, Instrument
from dataplane.metering.instruments import Instruments
from dataplane.metering.labels import LABEL_SETS

PAGE = Path("docs/reference/metrics.md")
UNITS = {"s": "_seconds", "By": "_bytes", "USD": "_USD"}

INTRODUCTION = f"""# Metrics

<!-- Made by `python -m dataplane.metering.reference`. Edit dataplane/metering/instruments.py instead. -->

Served on the admin port at `/metrics` for Prometheus, and sent by OTLP where the `OTEL_*` variables ask for it.
Every finished turn is counted at once, so the numbers of a session grow while it is open.

Sums are cumulative. A label that does not apply is empty. A metric has at most {LABEL_SETS} label sets without the name
of a caller; what comes after is counted in one series with `otel_metric_overflow="true"`: alert on it. A model's name
becomes a label when a Backend declares it or its provider has confirmed it, and is `_OTHER` until then.

`tidegate_caller_team` is the team of who asked, `tidegate_caller_key` the name of their key, where a Policy says
`telemetry.callerKey: true`. There are at most {LABEL_SETS} label sets with such names in a metric, besides the others;
callers that find no room are `_OTHER`, in the place of the key, or of both
([how they share it](../telemetry.md#callers-in-metrics)).

Metrics of the generation *legacy* follow the GenAI semantic conventions up to 1.41, which most dashboards read;
*latest* follows the current ones. Both are exported unless one was chosen. Cached, cache-write and reasoning tokens
are part of the input and output tokens: never add them up. The modality `unknown` is what a provider reported without
saying the modality, so that the sum over modalities is always the total.

What no provider reported (a session ended in the middle of a turn) is estimated from what was seen, and counted in
`tidegate_estimated_…` alone: every other figure of tokens and cost is the provider's own.
"""


def prometheus_name(instrument: Instrument) -> str:
    """The name of the metric's family on `/metrics`; a histogram's series add `_bucket`, `_sum` and `_count`."""
    what = instrument.definition
    name = re.sub("[^a-zA-Z0-9]+", "_", what.name)
    unit = UNITS.get(what.unit, "")
    if not name.endswith(unit):
        name += unit
    return name if isinstance(instrument, Gauge | Histogram) else f"{name}_total"


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join([INTRODUCTION, *map(_section, Instruments().all())])


def _section(instrument: Instrument) -> str:
    what = instrument.definition
    facts = [
        f"OpenTelemetry name `{what.name}`",
        f"{_kind(instrument)}, unit `{what.unit}`",
        *([f"generation *{what.generation}*"] if what.generation else []),
    ]
    labels = ", ".join(f"`{re.sub('[^a-z]+', '_', label)}`" for label in what.labels)
    lines = [
        f"## `{prometheus_name(instrument)}`",
        "",
        what.description,
        "",
        *(f"- {fact}" for fact in facts),
        f"- labels {labels}" if labels else "- no labels",
    ]
    if isinstance(instrument, Histogram):
        lines.append("- buckets " + ", ".join(f"{bound:.10g}" for bound in instrument.bounds))
    return "\n".join([*lines, ""])


def _kind(instrument: Instrument) -> str:
    if isinstance(instrument, Histogram):
        return "Histogram"
    return "Gauge" if isinstance(instrument, Gauge) else "Counter"


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    target = Path(next((each for each in arguments if not each.startswith("-")), PAGE))
    text = page()
    if check:
        fresh = target.is_file() and target.read_text(encoding="utf-8") == text
        if not fresh:
            print(f"{target} is stale; run: python -m dataplane.metering.reference", file=sys.stderr)  # noqa: T201
        return 0 if fresh else 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
