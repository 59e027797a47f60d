"""What the controller is told by its install: a YAML file, which the chart makes."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from controller.compile import ExposeRule, Install, LabelSelector, UpstreamRule


class NotRead(Exception):
    """The settings cannot be read. The message says why."""


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, hide_input_in_errors=True)


def _network(text: str) -> str:
    ip_network(text)
    return text


class Release(_Part):
    """Which install this is."""

    name: str
    """The full name: what the names of its objects begin with."""
    namespace: str
    instance: str
    """The release: the label `app.kubernetes.io/instance` of its objects."""


class Service(_Part):
    port: int = 80


class Gateways(_Part):
    """Services of Gateways."""

    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "LoadBalancer"
    service_annotations: dict[str, str] = {}


class Claim(_Part):
    """Which namespaces' Backends may be served where."""

    namespaces: LabelSelector
    hostnames: tuple[str, ...] = ()
    path_prefixes: tuple[str, ...] = ()


class Expose(_Part):
    allow: tuple[Claim, ...] = ()


class Reach(_Part):
    """Which namespaces' Backends may have upstreams in these networks."""

    namespaces: LabelSelector
    networks: tuple[Annotated[str, AfterValidator(_network)], ...]


class Upstreams(_Part):
    allow: tuple[Reach, ...] = ()


class DataPlane(_Part):
    service_account: str


class Settings(_Part):
    """All of it."""

    install: Release
    service: Service = Service()
    gateways: Gateways = Gateways()
    expose: Expose = Expose()
    upstreams: Upstreams = Upstreams()
    store: bool = False
    """Do its gateways have a store for what they count together?"""
    dataplane: DataPlane = Field(default_factory=lambda data: DataPlane(serviceAccount=_account(data)))

    def compiled_for(self, denied: frozenset[str], hint_keys: tuple[SecretStr, ...] = ()) -> Install:
        """For the compiler. `denied`: namespaces whose Secrets may not be read. `hint_keys` sign what providers keep,
        the first one, or did so before."""
        return Install(
            name=self.install.name,
            namespace=self.install.namespace,
            expose=tuple(ExposeRule(each.namespaces, each.hostnames, each.path_prefixes) for each in self.expose.allow),
            upstreams=tuple(UpstreamRule(each.namespaces, each.networks) for each in self.upstreams.allow),
            has_store=self.store,
            denied=denied,
            hint_keys=hint_keys,
            instance=self.install.instance,
            service_type=self.gateways.service_type,
            service_annotations=self.gateways.service_annotations,
        )

    @property
    def pods(self) -> str:
        """How to list the gateways."""
        return f"kubectl get pods --namespace {self.install.namespace} --selector {self.selector}"

    @property
    def selector(self) -> str:
        """Of gateways."""
        return ",".join(f"{name}={value}" for name, value in self.labels("dataplane").items())

    def labels(self, component: Literal["controller", "dataplane"]) -> dict[str, str]:
        """Of the install's objects."""
        return {
            "app.kubernetes.io/name": "tidegate",
            "app.kubernetes.io/instance": self.install.instance,
            "app.kubernetes.io/component": component,
        }


def read(path: Path) -> Settings:
    """Raises NotRead."""
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text("utf-8")) or {})
    except OSError as error:
        raise NotRead(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NotRead(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        found = [f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in error.errors()]
        raise NotRead(f"{path}: {'; '.join(found)}") from None


def _account(data: dict[str, object]) -> str:
    install = data.get("install")
    return f"{install.name}-dataplane" if isinstance(install, Release) else ""
