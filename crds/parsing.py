"""From a YAML document to a Backend or a Policy, or to a list of what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crds.backend import Backend
from crds.base import API_VERSION
from crds.errors import FieldError, Invalid, explain, one_of
from crds.policy import Policy

KINDS: Mapping[str, type[Backend] | type[Policy]] = {"Backend": Backend, "Policy": Policy}


def parse(document: dict[str, object]) -> Backend | Policy:
    """A document as the API server or a YAML file has it, as the model of its kind.

    `status` is not read: it is what Tidegate says about the object, and no part of it.

    Raises `Invalid` with every error found.
    """
    model = _model_of(document)
    wanted = {key: value for key, value in document.items() if key != "status"}
    try:
        return model.model_validate(wanted, by_alias=True, by_name=False)
    except ValidationError as error:
        errors = [explain(model, detail) for detail in error.errors(include_url=False) if not _echo(detail)]
    raise Invalid(errors)  # out here: pydantic's error, which holds the input, is not chained


def _echo(error: ErrorDetails) -> bool:
    """A list whose entries were all refused is called too short as well; the entries' own errors are enough."""
    return error["type"] == "too_short" and bool(error["input"])


def _model_of(document: object) -> type[Backend] | type[Policy]:
    if not isinstance(document, dict):
        raise Invalid([FieldError("", "an object is a mapping with apiVersion, kind, metadata and spec")])
    errors: list[FieldError] = []
    for field, known in (("apiVersion", [API_VERSION]), ("kind", list(KINDS))):
        value = document.get(field)
        if value is None:
            errors.append(FieldError(field, f"is missing; write {' or '.join(known)}"))
        elif value not in known:
            errors.append(FieldError(field, one_of(known, value, field)))
    if errors:
        raise Invalid(errors)
    return KINDS[str(document["kind"])]
