"""The API of Tidegate: the kinds Backend and Policy, group tidegate.dev, version v1alpha1.

The pydantic models are the only source. Everything else is made from them:

    rules.py      Rule: one rule, as Python for files and as CEL for the API server
    base.py       ApiModel, Metadata, and the kinds of text that fields hold    quantities.py  durations and sizes
    backend.py    Backend                status.py   what Tidegate says about both kinds
    policy.py     Policy, with its blocks in authentication.py, guardrails.py, limits.py, session.py and
                 transformation.py
    parsing.py    parse(): a document to a model, or to Invalid     errors.py   its messages, in plain words
    structural.py pydantic's JSON schema to what an API server takes
    generate.py   crds/generated/*.yaml          reference.py  docs/reference/api.md

A field exists only when it works. Every field is bounded and described: `kubectl explain` is the documentation.
Models are frozen, compare by value and refuse unknown fields. This package knows objects one at a time: whether a
name leads anywhere, what `${…}` means and which headers are forbidden is for the compiler to say.
"""

from crds.backend import Backend
from crds.errors import FieldError, Invalid
from crds.parsing import parse
from crds.policy import Policy

__all__ = ["Backend", "FieldError", "Invalid", "Policy", "parse"]
