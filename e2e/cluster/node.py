"""A whole node beside the control plane: containerd, kubelet and kube-proxy, in a machine within this one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import processes

from cluster import images
from cluster.control_plane import LOOPBACK, SERVICES, ControlPlane
from cluster.machine import INSIDE, PLUGINS, Machine, missing
from cluster.programs import BIN, Program

SOCKET = "/run/containerd/containerd.sock"
CTR = ("ctr", f"--address={SOCKET}", "--namespace=k8s.io")
PODS = "10.244.0.0/24"
DNS = "10.96.0.10"

PROBE = "localhost/probe:e2e"
"""An image that every node has: see probe/main.go."""


class Node(ControlPlane):
    """Everything of it runs in `machine`, which only this machine can reach, and from which there is no way out."""

    machine: Machine

    def run(self, *command: str | Path) -> str:
        """What the command prints, run on the node."""
        return self.machine.run(*command)

    def load_image(self, archive: Path, name: str = "") -> None:
        """Give the node the image of an OCI archive, under a name where the archive does not say one."""
        named = [f"--index-name={name}"] if name else []
        self._ctr("images", "import", *named, archive)

    def check(self) -> None:
        if hasattr(self, "machine"):
            self.machine.check()
        super().check()

    def _start(self) -> None:
        if lacking := missing():
            raise AssertionError(f"a node needs {', '.join(lacking)}")
        self.machine = Machine(self.folder)
        self.address = self.machine.address
        self._before = self.machine.on_its_network
        super()._start()
        self._route_services()
        self._run_containerd()
        self._load_own_images()
        self._run_scheduler()
        self._run_kubelet()
        self._run_proxy()
        self._run_dns()

    def _end(self) -> None:
        super()._end()
        if hasattr(self, "machine"):
            self.machine.close()
            del self.machine

    def _api_server_options(self) -> list[str]:
        return [
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={self.ca}",
            f"--kubelet-client-certificate={self.folder / 'admin.crt'}",
            f"--kubelet-client-key={self.folder / 'admin.key'}",
        ]

    def _route_services(self) -> None:
        """Processes of the node reach Services. Nothing is sent this way: it is translated before it leaves."""
        self.run("ip", "route", "add", SERVICES, "via", self.machine.outside)

    def _run_containerd(self) -> None:
        plugins = {"cniVersion": "1.0.0", "name": "pods", "plugins": [_POINT_TO_POINT, _PORT_MAP]}
        (self.folder / "cni").mkdir()
        self._write_settings("cni/pods.conflist", plugins)
        config = self.folder / "containerd.toml"
        config.write_text(_CONTAINERD)
        program = self._launch_inside("containerd", "containerd", f"--config={config}")
        program.wait_for(self._containerd_answers, "does not answer")

    def _containerd_answers(self) -> bool:
        command = [*self.machine.inside, *CTR, "version"]
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0

    def _load_own_images(self) -> None:
        for name in ("pause", "coredns", "probe"):
            archive = self.folder / f"{name}.tar"
            images.archive(archive, f"localhost/{name}:e2e", BIN / name)
            self.load_image(archive)

    def _run_scheduler(self) -> None:
        configuration = self._component("scheduler", "system:kube-scheduler")
        self._launch(
            "kube-scheduler",
            f"--kubeconfig={configuration}",
            f"--authentication-kubeconfig={configuration}",
            f"--authorization-kubeconfig={configuration}",
            f"--bind-address={LOOPBACK}",
            "--leader-elect=false",
        )

    def _run_kubelet(self) -> None:
        configuration = self._component("kubelet", "system:node:node", "system:nodes", hosts=("node", self.address))
        settings = {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "address": self.address,
            "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(self.ca)}},
            "tlsCertFile": str(self.folder / "kubelet.crt"),
            "tlsPrivateKeyFile": str(self.folder / "kubelet.key"),
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "clusterDNS": [DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.machine.name}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,  # less takes CAP_SYS_RESOURCE
            "syncFrequency": "10s",  # how late a changed ConfigMap may be seen in a pod
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "volumePluginDir": str(INSIDE / "volume-plugins"),
        }
        program = self._launch_inside(
            "kubelet",
            BIN / "kubelet",
            f"--config={self._write_settings('kubelet.yaml', settings)}",
            f"--kubeconfig={configuration}",
            f"--root-dir={INSIDE / 'kubelet'}",
            f"--node-ip={self.address}",
            "--hostname-override=node",
        )
        program.wait_for(self._is_ready, "has no node that is ready")

    def _is_ready(self) -> bool:
        path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        return self.kubectl("get", "nodes", "-o", path) == "True"

    def _run_proxy(self) -> None:
        configuration = self._component("proxy", "system:kube-proxy")
        leave_alone = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
        settings = {
            "kind": "KubeProxyConfiguration",
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "clientConnection": {"kubeconfig": str(configuration)},
            "hostnameOverride": "node",
            "mode": "nftables",
            "clusterCIDR": PODS,
            "oomScoreAdj": 0,
            "conntrack": leave_alone,  # they are the whole machine's
        }
        self._launch("kube-proxy", f"--config={self._write_settings('proxy.yaml', settings)}")

    def _run_dns(self) -> None:
        self.kubectl("apply", "--server-side", "-f", processes.ROOT / "e2e" / "cluster" / "dns.yaml")
        self.kubectl("rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=90s")

    def _launch_inside(self, name: str, *command: str | Path) -> Program:
        program = Program(name, [*self.machine.inside, *command], self.folder)
        program.start()
        self.programs[name] = program
        return program

    def _ctr(self, *args: str | Path) -> str:
        return self.run(*CTR, *args)

    def _write_settings(self, name: str, value: object) -> Path:
        file = self.folder / name
        file.write_text(json.dumps(value))
        return file


_POINT_TO_POINT = {
    "type": "ptp",
    "ipMasq": True,
    "ipam": {
        "type": "host-local",
        "dataDir": str(INSIDE / "addresses"),
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    },
}
_PORT_MAP = {"type": "portmap", "capabilities": {"portMappings": True}}
_CONTAINERD = f"""\
version = 2
root = "{INSIDE}/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{INSIDE}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:e2e"
  restrict_oom_score_adj = true # less than ours takes CAP_SYS_RESOURCE
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{PLUGINS}"
  conf_dir = "{INSIDE}/cni"
"""
