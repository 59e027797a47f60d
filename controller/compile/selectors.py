"""Label selectors, as Kubernetes has them (metav1.LabelSelector). Everything that a selector says must hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from crds.base import ApiModel
from crds.rules import Rule

Key = Annotated[str, StringConstraints(min_length=1, max_length=317)]
Value = Annotated[str, StringConstraints(max_length=63)]


def _has_its_values(expression: Expression) -> bool:
    return bool(expression.values) == (expression.operator in ("In", "NotIn"))


class Expression(ApiModel):
    """What one label must be, or must not be."""

    rules: ClassVar = (
        Rule(
            "self.operator in ['In', 'NotIn'] ? has(self.values) : !has(self.values)",
            "In and NotIn need values; Exists and DoesNotExist have none",
            _has_its_values,
        ),
    )

    key: Key
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[Value, ...] = Field(default=(), max_length=64)

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(ApiModel):
    """Objects by their labels. An empty selector is for all of them."""

    match_labels: dict[Key, Value] = Field(default={}, max_length=64)
    match_expressions: tuple[Expression, ...] = Field(default=(), max_length=64)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is meant."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            expression.matches(labels) for expression in self.match_expressions
        )
