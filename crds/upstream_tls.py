"""TLS towards a provider: which certificates are trusted, which one the gateway shows, and which name it asks for."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from crds.base import ApiModel, ObjectName, SecretKey, ServerName
from crds.rules import at_least_one


class AuthoritiesRef(ApiModel):
    """One entry of a Secret in the Backend's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretKey = Field(
        default="ca.crt", description="Entry of the Secret that holds certificates in PEM, one after the other."
    )


class ClientCertificateRef(ApiModel):
    """A Secret of type kubernetes.io/tls in the Backend's own namespace."""

    name: ObjectName = Field(description="Name of the Secret. Its entries are tls.crt, the chain, and tls.key.")


class UpstreamTls(ApiModel):
    """TLS towards the provider. At least one field."""

    rules: ClassVar = (at_least_one("ca_secret_ref", "client_secret_ref", "server_name"),)

    ca_secret_ref: AuthoritiesRef | None = Field(
        default=None,
        description=(
            "Certificates in a Secret that the provider's is checked with, in place of the public authorities: those "
            "of your own authorities, or the server's own certificate."
        ),
    )
    client_secret_ref: ClientCertificateRef | None = Field(
        default=None,
        description=(
            "A Secret of type kubernetes.io/tls: the certificate that the gateway shows to a provider that asks for "
            "one (mutual TLS), and its key. Each new connection is made with the Secret as it is then."
        ),
    )
    server_name: ServerName | None = Field(
        default=None,
        description=(
            "Name that the provider's certificate must be for, and that is asked for in the handshake (SNI). Absent: "
            "the host of url; of a Service, NAME.NAMESPACE.svc. The header Host stays as it is."
        ),
    )
