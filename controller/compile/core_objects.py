"""Kubernetes' own objects, as far as they are read: Service, EndpointSlice and Namespace.

An API server has checked them, and later versions of it know more fields: what is not read here is let go.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_address
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from crds import FieldError, Invalid
from crds.errors import explain

ModelT = TypeVar("ModelT", bound=BaseModel)
Port = Annotated[int, Field(ge=1, le=65535)]
OWN_NAME = "kubernetes.io/metadata.name"
"""The label with its own name that an API server gives every Namespace."""


class Core(BaseModel):
    """Base of what is read of objects that an API server has checked."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore", hide_input_in_errors=True)


class Labelled(Core):
    """Of an object's metadata."""

    name: str
    labels: dict[str, str] = {}


class ServicePort(Core):
    name: str = ""
    protocol: str = "TCP"
    port: Port


class ServiceSpec(Core):
    type: str = "ClusterIP"
    ports: tuple[ServicePort, ...] = ()


class Service(Core):
    """Its ports; where they lead is said by its EndpointSlices."""

    spec: ServiceSpec = ServiceSpec()


class EndpointConditions(Core):
    ready: bool | None = None
    """Unknown counts as ready, as the API says."""


class Endpoint(Core):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()


class EndpointPort(Core):
    name: str | None = None
    """The name of the Service's port."""
    protocol: str | None = "TCP"
    port: Port | None = None


class EndpointSlice(Core):
    """Some of the addresses behind a Service."""

    metadata: Labelled
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[Endpoint, ...] | None = ()
    ports: tuple[EndpointPort, ...] | None = ()

    @property
    def service(self) -> str:
        """The name of the Service, in the slice's own namespace."""
        return self.metadata.labels.get("kubernetes.io/service-name", "")

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """The addresses that are ready, as a URL has them. Names are none."""
        if self.address_type == "FQDN":
            return ()
        ready = (each for each in self.endpoints or () if each.conditions.ready is not False)
        return tuple(host for each in ready for text in each.addresses if (host := _host(text)))


def _host(text: str) -> str:
    """Empty for what no API server takes as an address."""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    return f"[{address}]" if address.version == 6 else str(address)


class Namespace(Core):
    metadata: Labelled

    @property
    def labels(self) -> Mapping[str, str]:
        return {**self.metadata.labels, OWN_NAME: self.metadata.name}


def read_service(document: Mapping[str, object]) -> Service:
    """Raises `Invalid`."""
    return parse(Service, document)


def read_endpoint_slice(document: Mapping[str, object]) -> EndpointSlice:
    """Raises `Invalid`."""
    return parse(EndpointSlice, document)


def read_namespace(document: Mapping[str, object]) -> Namespace:
    """Raises `Invalid`."""
    return parse(Namespace, document)


def parse(model: type[ModelT], document: Mapping[str, object]) -> ModelT:
    """Raises `Invalid`."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = [explain(model, detail) for detail in error.errors(include_url=False)]
    raise Invalid([FieldError(each.path, each.message) for each in found])
