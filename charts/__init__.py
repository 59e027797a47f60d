"""The Helm charts: `tidegate-crds` (the API) and `tidegate` (controller, data plane, and what they need).

The templates are written by hand; what would have to agree with something else is made from one source by
`python -m charts.generate`:

    parts.py    the kinds of values, and what the pods of both components share
    values.py   the values of both charts: names, defaults, bounds, descriptions
    schema.py   values.schema.json, which Helm holds every install to
    plain.py    values.yaml, with the descriptions as comments
    reference.py    docs/reference/values.md
    templates.py    the CRDs as templates, and the seconds that the data plane's code needs after its drain

No package of the product imports this one. `e2e/test_charts.py` renders both charts; CONTRIBUTING.md says how.
"""
