"""What a test does with a cluster, whoever runs it."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import processes
import yaml

from cluster.programs import BIN

GATEWAY_API = processes.ROOT / ".cache" / "cluster" / "crds"
"""The CRDs of Gateway API, standard channel."""

PATIENCE_S = 120


class Failed(AssertionError):
    """A command failed. The message is what it said."""


class Cluster:
    """A cluster that there is a kubeconfig for. `folder` is where files of the test are kept."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.kubeconfig = kubeconfig
        self.folder = folder

    def check(self) -> None:
        """Raise where the cluster has broken. Of one that is not ours nothing is known."""

    def kubectl(self, *args: str | Path, input: str | None = None, kubeconfig: Path | None = None) -> str:
        """What `kubectl ARGS` prints. `input` is its standard input, `kubeconfig` another user's. Raises Failed."""
        return self._call("kubectl", args, input, kubeconfig)

    def helm(self, *args: str | Path, input: str | None = None, kubeconfig: Path | None = None) -> str:
        """What `helm ARGS` prints. Raises Failed."""
        return self._call("helm", args, input, kubeconfig)

    def refused(self, *args: str | Path, input: str | None = None, kubeconfig: Path | None = None) -> str:
        """What `kubectl ARGS` says when it fails. Fails where it does not."""
        try:
            done = self.kubectl(*args, input=input, kubeconfig=kubeconfig)
        except Failed as failed:
            return str(failed)
        raise AssertionError(f"this was not refused: kubectl {' '.join(map(str, args))}\n{done}")

    def apply(self, *documents: dict[str, object] | str, kubeconfig: Path | None = None) -> str:
        """Apply objects, or text in YAML, server-side."""
        texts = [text if isinstance(text, str) else json.dumps(text) for text in documents]
        return self.kubectl("apply", "--server-side", "-f", "-", input="\n---\n".join(texts), kubeconfig=kubeconfig)

    def get(self, *args: str | Path) -> dict[str, object]:
        """The object, or the list, that `kubectl get ARGS` finds."""
        found: dict[str, object] = json.loads(self.kubectl("get", "-o", "json", *args))
        return found

    def install_crds(self) -> None:
        """Apply what `tidegate crds` prints."""
        printed = subprocess.run(
            [processes.TIDEGATE, "crds"], capture_output=True, text=True, check=True, timeout=PATIENCE_S
        )
        self.apply(printed.stdout)
        self.await_crds("backends.tidegate.dev", "policies.tidegate.dev")

    def install_gateway_api(self) -> None:
        self.kubectl("apply", "--server-side", "-f", GATEWAY_API)
        names = [file.stem.removeprefix("gateway.networking.k8s.io_") for file in GATEWAY_API.glob("*s.yaml")]
        self.await_crds(*(f"{name}.gateway.networking.k8s.io" for name in names if "vap_" not in name))

    def await_crds(self, *names: str) -> None:
        """Until they are served. `--for=condition` fails where a CRD is so new that it has no conditions at all."""
        established = '--for=jsonpath={.status.conditions[?(@.type=="Established")].status}=True'
        self.kubectl("wait", established, "--timeout=60s", *(f"crd/{name}" for name in names))

    @contextmanager
    def namespace(self, prefix: str = "test", **labels: str) -> Iterator[str]:
        """A namespace of its own, with the account "default". At the end it is told to go, which takes five seconds."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        metadata = {"name": name, "labels": labels}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        try:
            self.kubectl("wait", "--for=create", "-n", name, "serviceaccount/default", "--timeout=60s")
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    def user(self, name: str, *groups: str) -> Path:
        """The kubeconfig of someone who may do only what RBAC says, by impersonation: for kubectl and helm."""
        config = self._config()
        users: list[dict[str, object]] = [
            {"name": "user", "user": {**self._credentials(), "as": name, "as-groups": list(groups)}}
        ]
        return self._write(f"{name}.kubeconfig", config, users)

    def service_account(self, namespace: str, name: str, *options: str) -> Path:
        """The kubeconfig of a service account, with a token of an hour. `options` are those of kubectl create token."""
        token = self.token(namespace, name, *options)
        return self._write(
            f"{namespace}.{name}.kubeconfig", self._config(), [{"name": "user", "user": {"token": token}}]
        )

    def token(self, namespace: str, name: str, *options: str) -> str:
        """A token of a service account: "--audience=…", "--bound-object-kind=Pod"."""
        return self.kubectl("create", "token", "-n", namespace, name, *options).strip()

    def _config(self) -> dict[str, list[dict[str, object]]]:
        """The configuration of the context in use, with what its files hold."""
        config: dict[str, list[dict[str, object]]] = yaml.safe_load(
            self.kubectl("config", "view", "--raw", "--minify", "--flatten")
        )
        return config

    def _credentials(self) -> dict[str, object]:
        user = self._config()["users"][0]["user"]
        assert isinstance(user, dict)
        return user

    def _write(self, file: str, config: dict[str, list[dict[str, object]]], users: list[dict[str, object]]) -> Path:
        clusters = [{**config["clusters"][0], "name": "cluster"}]
        path = self.folder / file.replace(":", "-")
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(kubeconfig(clusters, users)))
        return path

    def _call(self, program: str, args: tuple[str | Path, ...], input: str | None, kubeconfig: Path | None) -> str:
        done = subprocess.run(
            [BIN / program, *map(str, args)],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S + 60,
            env=self._environment(kubeconfig or self.kubeconfig),
        )
        if done.returncode:
            self.check()
            said = done.stderr.strip() or done.stdout.strip()
            raise Failed(f"{program} {' '.join(map(str, args))} failed:\n{said}")
        return done.stdout

    def _environment(self, kubeconfig: Path) -> dict[str, str]:
        """Nothing is read from or left in the home folder."""
        own = {name: str(self.folder / name.lower()) for name in _CACHES}
        return os.environ | own | {"KUBECONFIG": str(kubeconfig)}


_CACHES = ("KUBECACHEDIR", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")


def kubeconfig(clusters: list[dict[str, object]], users: list[dict[str, object]]) -> dict[str, object]:
    """A configuration for one cluster named "cluster" and one user named "user"."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": users,
        "contexts": [{"name": "e2e", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "e2e",
    }
