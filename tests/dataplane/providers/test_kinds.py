"""Whoever names kinds of providers names the same ones."""

from __future__ import annotations

from typing import get_args

import crds.backend
from dataplane import providers, table
from dataplane.providers import KINDS


def test_the_table_and_the_api_have_the_kinds_that_there_are() -> None:
    assert list(KINDS) == [*get_args(table.Provider.model_fields["kind"].annotation)]
    assert all(name in crds.backend.Provider.model_fields for name in KINDS)
    assert all(name == kind.name for name, kind in KINDS.items())


def test_what_is_said_of_a_kind_and_of_one_that_nobody_knows() -> None:
    assert [providers.label(name) for name in ("openai", "azure", "xai", "custom", "")] == [
        "openai",
        "azure.ai.openai",
        "x_ai",
        "custom",
        "",
    ]
    assert (providers.catalogue("xai"), providers.catalogue("custom"), providers.catalogue("?")) == ("x-ai", "", "")
    assert [name for name in (*KINDS, "?") if providers.bills_time(name)] == ["xai"]
