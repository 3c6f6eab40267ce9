"""A stand-in for a kubelet: runs the containers of rendered pods as processes of this machine.

Volumes become folders, filled as a kubelet fills them (a Secret's files belong to root and to fsGroup, 0440, behind a link that is
exchanged when the Secret changes); the command, the arguments and the whole environment are those of the manifest. What a
container would have and a process has not is rewritten: the paths of mounts, the addresses (each pod listens on a loopback address
of its own, on its own ports), the names of Services. Where this runs as root, a process gets the pod's user and group, no
capability, no new privileges, and a root filesystem that it cannot write to; elsewhere it runs as whoever runs the test.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess

import cluster

ROOT = os.geteuid() == 0


def can_unshare():
    """Whether a root filesystem can be made read-only for one process."""
    if not ROOT or not shutil.which("unshare") or not shutil.which("setpriv"):
        return False
    tried = subprocess.run(["unshare", "--mount", "sh", "-c", "mount -o remount,bind,ro /"], capture_output=True)
    return tried.returncode == 0


READ_ONLY = can_unshare()


class Machine:
    def __init__(self, folder, binary):
        self.folder = pathlib.Path(folder)
        self.folder.chmod(0o755)
        # An account without rights may not reach the build folder.
        self.binary = self.folder / "linkage"
        try:
            os.link(binary, self.binary)
        except OSError:
            shutil.copy2(binary, self.binary)
        self.secrets = {}
        self.config_maps = {}
        self.addresses = {}
        self.hosts = {}
        self.running = []
        # 127.0.0.0/8 is one machine's own; tests beside this one take other thirds.
        self.network = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"

    def apply(self, objects):
        """Takes over what a release has beside its pods."""
        self.config_maps |= cluster.config_maps(objects)
        for service in cluster.of_kind(objects, "Service"):
            pod = next(p for p in cluster.pods(objects) if cluster.selects(p.labels, service["spec"]["selector"]))
            self.hosts[service["metadata"]["name"]] = (pod, service)

    def address(self, pod):
        return self.addresses.setdefault(pod.name, f"{self.network}.{len(self.addresses) + 2}")

    def home(self, pod):
        return self.folder / pod.name.replace("/", "-")

    def source(self, pod, mount):
        """The folder that is mounted. A claim's is one for all pods that name it: a role's own (DATA-ROLE-0) is its backup's too."""
        name = mount["name"]
        if name in pod.claims:
            claim = f"{name}-{pod.owner['metadata']['name']}-0"
        else:
            claim = pod.volumes.get(name, {}).get("persistentVolumeClaim", {}).get("claimName")
        return (self.folder / "claims" / claim if claim else self.home(pod) / name) / mount.get("subPath", "")

    def place(self, pod, path):
        """Where a path of the container lies on this machine."""
        mount = pod.mount_of(path)
        assert mount, f"{pod.name}: {path} is on the read-only root filesystem"
        return self.source(pod, mount) / path[len(mount["mountPath"]) + 1 :]

    def rewritten(self, pod, text):
        """Addresses and paths as they are on this machine; a path that nothing is mounted at stays, and leads nowhere."""
        for name, (target, service) in self.hosts.items():
            for port in service["spec"]["ports"]:
                inner = target.ports()[port["targetPort"]]
                text = re.sub(rf"//{re.escape(name)}:{port['port']}\b", f"//{self.address(target)}:{inner}", text)
        text = text.replace("0.0.0.0:", f"{self.address(pod)}:")
        return re.sub(r"(?<![\w/.:])(/(?:etc/linkage|var/lib/linkage|tmp)[\w./-]*)", lambda m: str(self.place(pod, m[1])) if pod.mount_of(m[1]) else m[1], text)

    def mount(self, pod, again):
        """Fills the pod's volumes; those that are there only where `again` says so."""
        uid = pod.spec["securityContext"]["runAsUser"]
        group = pod.spec["securityContext"]["fsGroup"]
        self.home(pod).mkdir(exist_ok=True)
        for mount in pod.spec["containers"][0].get("volumeMounts", []):
            target = self.source(pod, mount)
            parts = list(cluster.sources(pod.volumes.get(mount["name"], {})))
            if parts and (again or not target.is_dir()):
                self.publish(pod, target, parts, group)
            elif not parts and not target.is_dir():
                # A volume of one's own: fsGroup may write, setgid hands the group on.
                target.mkdir(parents=True)
                if ROOT:
                    os.chown(target, 0, group)
                    target.chmod(0o2775)
        return uid, group

    def publish(self, pod, target, parts, group):
        """Writes a volume's files into a new folder and exchanges the link, as a kubelet does."""
        target.mkdir(parents=True, exist_ok=True)
        data = target / f"..edition_{len(list(target.glob('..edition_*')))}"
        data.mkdir()
        for kind, name, wanted, optional in parts:
            held = (self.secrets if kind == "Secret" else self.config_maps).get(name)
            if held is None:
                assert optional, f"{pod.name}: {kind} {name} is missing"
                continue
            for file, key in (wanted or {k: k for k in held}).items():
                content = held[key]
                if kind == "ConfigMap" and file == f"{pod.component.removesuffix('-migrate').removesuffix('-backup')}.toml":
                    content = self.rewritten(pod, content)
                path = data / file
                path.write_bytes(content.encode() if isinstance(content, str) else content)
                path.chmod((0o440 if ROOT else 0o400) if kind == "Secret" else 0o644)
                if ROOT:
                    os.chown(path, 0, group)
                if not (target / file).is_symlink():
                    (target / file).symlink_to(pathlib.Path("..data") / file)
        link = target / "..data_tmp"
        link.symlink_to(data.name)
        link.rename(target / "..data")

    @staticmethod
    def environment(pod):
        """The manifest's; what it takes from the pod's own fields is the pod's name."""
        own = f"{pod.owner['metadata']['name']}-5d8f7c9b44-x2x7k"
        return {e["name"]: own if "valueFrom" in e else e["value"] for e in pod.spec["containers"][0].get("env", [])}

    def command(self, pod, arguments=None):
        """A process of the pod's container, with its own arguments or with others beside it."""
        container = pod.spec["containers"][0]
        assert container["command"] == ["/linkage"]
        uid, group = self.mount(pod, again=arguments is None)
        arguments = container["args"] if arguments is None else arguments
        environment = {name: self.rewritten(pod, value) for name, value in self.environment(pod).items()}
        line = [str(self.binary), *[self.rewritten(pod, a) for a in arguments]]
        if READ_ONLY:
            mounts = container.get("volumeMounts", [])
            writable = [self.source(pod, m) for m in mounts if not m.get("readOnly")]
            binds = " && ".join(["true", *[f"mount --bind '{w}' '{w}'" for w in writable]])
            script = f'{binds} && mount -o remount,bind,ro / && exec "$@"'
            line = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *self.unprivileged(uid, group), *line]
        elif ROOT:
            line = [*self.unprivileged(uid, group), *line]
        return line, environment | {"PATH": os.environ["PATH"]} if ROOT else environment

    @staticmethod
    def unprivileged(uid, group):
        return ["setpriv", f"--reuid={uid}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]

    def start(self, pod):
        """Starts a pod's one container; its log is in the pod's folder."""
        line, environment = self.command(pod)
        log = self.home(pod) / "log"
        with open(log, "ab") as output:
            process = subprocess.Popen(line, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/")
        self.running.append((pod, process))
        return process

    def run(self, pod, arguments=None):
        """Runs a container to its end: a hook's, a test's, or what `kubectl exec` would start."""
        line, environment = self.command(pod, arguments)
        done = subprocess.run(line, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, cwd="/")
        return done.returncode, done.stdout + done.stderr

    def log(self, pod):
        path = self.home(pod) / "log"
        return path.read_text(errors="replace") if path.is_file() else ""

    def stop(self, *pods):
        """Ends these pods, or every one, as a kubelet does; (pod, exit code) of each."""
        ending = [(pod, process) for pod, process in self.running if not pods or pod in pods]
        for _, process in ending:
            process.send_signal(signal.SIGTERM)
        ended = []
        for pod, process in ending:
            try:
                ended.append((pod, process.wait(timeout=pod.spec["terminationGracePeriodSeconds"])))
            except subprocess.TimeoutExpired:
                process.kill()
                ended.append((pod, "killed"))
        self.running = [one for one in self.running if one not in ending]
        return ended

    def replace(self, former, pod):
        """Has `pod` stand where `former` stood: behind the same Service."""
        self.addresses[pod.name] = self.address(former)
