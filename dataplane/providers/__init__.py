"""Kinds of providers: what is particular about each, in one module each. Pure.

kind     what a kind says of itself: its address, its credential, its names in metrics and in the price catalogue
openai   the OpenAI API
azure    Azure OpenAI: its GA paths and, with an api-version, those of deployments
xai      xAI, whose voice sessions are billed by time
custom   anything that speaks the OpenAI API, at an address of its own

A tenth is one more module and a line here; the field of `crds.backend.Provider` has the kind's name. docs/providers.md
goes through it.
"""

from dataplane.providers.azure import AZURE
from dataplane.providers.custom import CUSTOM
from dataplane.providers.kind import Kind
from dataplane.providers.openai import OPENAI
from dataplane.providers.xai import XAI

KINDS = {kind.name: kind for kind in (OPENAI, AZURE, XAI, CUSTOM)}
"""By the name that the API, the table and the usage records have for it."""


def label(name: str) -> str:
    """How metrics and spans name providers of a kind."""
    return kind.label if (kind := KINDS.get(name)) else name


def catalogue(name: str) -> str:
    """Whose prices genai-prices lists for a kind; empty: nobody's."""
    return kind.catalogue if (kind := KINDS.get(name)) else ""


def bills_time(name: str) -> bool:
    """Are realtime sessions at providers of a kind billed by time?"""
    return (kind := KINDS.get(name)) is not None and kind.bills_time


__all__ = ["KINDS", "Kind", "bills_time", "catalogue", "label"]
