"""What charts/values.py, the CRDs and the data plane say about the charts: `python -m charts.generate [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from charts import plain, reference, schema, templates
from charts.parts import Part
from charts.values import CrdValues, Values
from crds.artefacts import keep

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "reference" / "values.md"
CHARTS: Final[dict[str, type[Part]]] = {"tidegate": Values, "tidegate-crds": CrdValues}


def render() -> dict[Path, str]:
    """Every file that is made, by its path."""
    files = {PAGE: reference.render(CHARTS)}
    for name, values in CHARTS.items():
        files[FOLDER / name / "values.yaml"] = plain.render(values(), "charts/values.py")
        files[FOLDER / name / "values.schema.json"] = schema.render(values)
    for name, text in templates.crds().items():
        files[FOLDER / "tidegate-crds" / "templates" / name] = text
    files[FOLDER / "tidegate" / "templates" / "_ending.tpl"] = templates.ending()
    return files


if __name__ == "__main__":
    sys.exit(keep(render(), sys.argv[1:], "charts.generate"))
