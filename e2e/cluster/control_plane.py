"""An API server with its storage and its controllers, on loopback: all of Kubernetes that has no node."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Self

import yaml

from cluster.access import Cluster, Failed, kubeconfig
from cluster.certificates import Authority, write_key
from cluster.programs import BIN, Program, free_ports

LOOPBACK = "127.0.0.1"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"  # `kubernetes`, which the API server makes for itself
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


class ControlPlane(Cluster):
    """etcd, kube-apiserver and kube-controller-manager. Everything of it is in `folder`, which is deleted at first.

    `programs` has them by name, for tests that end, freeze or start one.
    """

    address = LOOPBACK
    """Where the API server listens."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "admin.kubeconfig", folder)
        self.programs: dict[str, Program] = {}
        self._port, self._etcd_port, self._peer_port, self._manager_port = free_ports(4)

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://{self.address}:{self._port}"

    @property
    def ca(self) -> Path:
        """The certificate that the API server's was signed with."""
        return self.folder / "ca.crt"

    def start(self) -> Self:
        """Bring it up, in some five seconds. Raises Ended where a program does not start; then nothing is left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def stop(self) -> None:
        """End it. Raises Ended where one of its programs had ended before, unasked."""
        try:
            self.check()
        finally:
            self._end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raise Ended where one of its programs has ended by itself."""
        for program in self.programs.values():
            program.check()

    def ready(self) -> bool:
        """Does the API server say so?"""
        try:
            return self.kubectl("get", "--raw", "/readyz", "--request-timeout=5s") == "ok"
        except Failed:
            return False

    def _start(self) -> None:
        self._write_credentials()
        self._run_etcd()
        api = self._run_api_server()
        api.wait_for(self.ready, "is not ready")
        manager = self._run_controller_manager()
        manager.wait_for(self._has_accounts, "has made no service account")

    def _end(self) -> None:
        for program in reversed(self.programs.values()):
            program.stop()

    def _has_accounts(self) -> bool:
        return "default" in self.kubectl("get", "serviceaccounts", "-n", "default", "-o", "name")

    def _write_credentials(self) -> None:
        authority = Authority(self.folder)
        authority.issue("api", "kube-apiserver", hosts=(*NAMES, self.address, LOOPBACK, FIRST_SERVICE))
        authority.issue("admin", "admin", groups=("system:masters",))
        authority.issue("manager", "system:kube-controller-manager")
        write_key(self.folder / "accounts.key")
        self._write_kubeconfig("admin")
        self._write_kubeconfig("manager")
        self.authority = authority

    def _write_kubeconfig(self, name: str) -> Path:
        clusters: list[dict[str, object]] = [
            {"name": "cluster", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}
        ]
        certificate = {"client-certificate": self._path(f"{name}.crt"), "client-key": self._path(f"{name}.key")}
        file = self.folder / f"{name}.kubeconfig"
        file.write_text(yaml.safe_dump(kubeconfig(clusters, [{"name": "user", "user": certificate}])))
        return file

    def _run_etcd(self) -> None:
        clients, peers = (f"http://{LOOPBACK}:{port}" for port in (self._etcd_port, self._peer_port))
        self._launch(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
        )

    def _run_api_server(self) -> Program:
        return self._launch(
            "kube-apiserver",
            f"--etcd-servers=http://{LOOPBACK}:{self._etcd_port}",
            f"--secure-port={self._port}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--tls-cert-file={self._path('api.crt')}",
            f"--tls-private-key-file={self._path('api.key')}",
            f"--client-ca-file={self.ca}",
            f"--service-account-key-file={self._path('accounts.pub')}",
            f"--service-account-signing-key-file={self._path('accounts.key')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--allow-privileged=true",
            *self._api_server_options(),
        )

    def _api_server_options(self) -> list[str]:
        """Those that a node wants otherwise."""
        return [
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            "--endpoint-reconciler-type=none",  # which would refuse loopback
            "--authorization-mode=RBAC",
        ]

    def _run_controller_manager(self) -> Program:
        configuration = self._path("manager.kubeconfig")
        return self._launch(
            "kube-controller-manager",
            f"--kubeconfig={configuration}",
            f"--authentication-kubeconfig={configuration}",
            f"--authorization-kubeconfig={configuration}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self._manager_port}",
            f"--root-ca-file={self.ca}",
            f"--service-account-private-key-file={self._path('accounts.key')}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
        )

    def _launch(self, name: str, *options: str) -> Program:
        program = Program(name, [BIN / name, *options], self.folder)
        program.start()
        self.programs[name] = program
        return program

    def _path(self, name: str) -> str:
        return str(self.folder / name)
