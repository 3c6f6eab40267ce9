"""Runs the containers of rendered pods as containers of the built image, with podman.

Nothing of a manifest is rewritten: command, arguments, environment, account, capabilities, read-only root, limits of memory, paths of
mounts and names of Services are the manifest's. What a container engine adds of its own accord and a kubelet does not is switched
off: writable folders in memory, lines in /etc/passwd, variables, a list of hosts.
"""

import itertools
import os
import pathlib
import subprocess

import helm
import machine
import network

IMAGE = os.environ.get("LINKAGE_IMAGE", "localhost/linkage:essai")
SECURITY = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}
# The engine's default profile is what it takes when none is named.
SECCOMP = {"seccompProfile": {"type": "RuntimeDefault"}}


def podman(*arguments):
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Containers(machine.Machine):
    """The same steps as for processes, on the image."""

    def __init__(self, folder, binary):
        super().__init__(folder, binary)
        self.network = network.Network(helm.NAMESPACE)
        self.namespaces = {}
        self.numbers = itertools.count(2)
        self.names = {}
        self.resolver = self.folder / "resolv.conf"
        self.resolver.write_text(self.network.resolver())

    def address(self, pod):
        if pod.name not in self.addresses:
            self.addresses[pod.name], self.namespaces[pod.name] = self.network.join(next(self.numbers))
        return self.addresses[pod.name]

    def apply(self, objects):
        super().apply(objects)
        for name, (pod, service) in self.hosts.items():
            # A name leads to the pod itself. Where the Service has another port (the page's), no pod is meant to call it.
            if all(pod.ports()[p["targetPort"]] == p["port"] for p in service["spec"]["ports"]):
                self.network.name(name, self.address(pod))

    def rewritten(self, pod, text):
        return text

    def command(self, pod, arguments=None):
        running = any(one is pod for one, _ in self.running)
        if running and arguments is not None:
            return ["podman", "exec", self.names[pod.name], "/linkage", *arguments], os.environ
        container = pod.spec["containers"][0]
        assert container["command"] == ["/linkage"] and container["securityContext"] == SECURITY | SECCOMP, container
        address = self.address(pod)
        user, group = self.mount(pod, again=arguments is None)
        host = f"{pod.owner['metadata']['name']}-0"
        hosts = self.home(pod) / "hosts"
        hosts.write_text(f"127.0.0.1\tlocalhost\n{address}\t{host}\n")
        self.names[pod.name] = f"{host}-{len(list(self.home(pod).glob('container-*')))}"
        (self.home(pod) / f"container-{self.names[pod.name]}").touch()
        line = ["podman", "run", "--rm", "--name", self.names[pod.name], "--hostname", host, "--network", f"ns:{self.namespaces[pod.name]}"]
        line += ["--user", f"{user}:{pod.spec['securityContext']['runAsGroup']}", "--group-add", str(group)]
        line += ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
        line += ["--passwd=false", "--no-hosts", "--unsetenv-all", "--memory", container["resources"]["limits"]["memory"].removesuffix("i").lower()]
        line += [option for name, value in self.environment(pod).items() for option in ("--env", f"{name}={value}")]
        binds = [(hosts, "/etc/hosts", True), (self.resolver, "/etc/resolv.conf", True)]
        binds += [(self.source(pod, m), m["mountPath"], m.get("readOnly", False)) for m in container.get("volumeMounts", [])]
        line += [f"--volume={source}:{target}:{'ro' if fixed else 'rw'}" for source, target, fixed in binds]
        return [*line, IMAGE, *(container["args"] if arguments is None else arguments)], os.environ

    def process(self, pod):
        """The folder in /proc of the container's first process."""
        return pathlib.Path("/proc") / podman("inspect", "--format", "{{.State.Pid}}", self.names[pod.name]).strip()
