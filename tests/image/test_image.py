"""The image of the Containerfile: what is in it, and a month linked by containers of it as the chart's manifests say.

run.sh builds the image and starts this. The federation and the steps are those of tests/chart/test_running.py.
"""

import json
import os
import pathlib
import ssl
import struct
import tempfile
import unittest
import urllib.request

import test_running
from containers import IMAGE, Containers, podman

ACCOUNT = 65532
PROGRAM = 3  # PT_INTERP of a program header: the loader that a program needs


def interpreter(program):
    """Whether this ELF file (64 bits, little-endian) names a loader."""
    head = program[:64]
    (offset,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    return any(struct.unpack_from("<I", program, offset + i * size)[0] == PROGRAM for i in range(count))


class Image(unittest.TestCase):
    def test_it_holds_the_program_and_nothing_to_run_beside_it(self):
        described = json.loads(podman("image", "inspect", IMAGE))[0]
        self.assertEqual(described["Config"]["User"], f"{ACCOUNT}:{ACCOUNT}")
        self.assertEqual(described["Config"]["Entrypoint"], ["/linkage"])
        root = pathlib.Path(podman("image", "mount", IMAGE).strip())
        self.addCleanup(podman, "image", "unmount", IMAGE)
        held = {str(p.relative_to(root)): p.lstat() for p in root.rglob("*")}
        self.assertEqual({name for name in held if not (root / name).is_dir()}, {"linkage", "licences/LICENSE", "licences/NOTICE"})
        self.assertEqual({name for name in held if (root / name).is_dir()}, {"licences", "tmp"})
        self.assertEqual(oct(held["linkage"].st_mode), oct(0o100755))
        self.assertEqual(oct(held["tmp"].st_mode), oct(0o041777))
        program = (root / "linkage").read_bytes()
        self.assertTrue(program.startswith(b"\x7fELF\x02\x01"))
        self.assertFalse(interpreter(program))
        self.assertNotIn(b"/usr/local/cargo", program)
        self.assertIn(b"mimalloc", program)
        print(f"image {described['Size'] / 2**20:.1f} MiB, program {len(program)} bytes", flush=True)

    def test_the_demonstration_runs_without_a_network(self):
        """As somebody tries the image: no folder to write to but one, no network, the image's own account."""
        with tempfile.TemporaryDirectory() as out:
            os.chown(out, ACCOUNT, ACCOUNT)
            line = ["run", "--rm", "--network", "none", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all"]
            line += ["--volume", f"{out}:/essai", IMAGE]
            text = podman(*line, "demo", "--persons", "200", "--months", "1", "--seed", "7", "--keep", "/essai/demo")
            self.assertIn("Personnes distinctes", text)
            parties = [folder for folder in pathlib.Path(out, "demo/donnees").iterdir() if folder.is_dir()]
            files = [f"--input={party.name}=/essai/demo/donnees/{party.name}/{next(party.iterdir()).name}" for party in parties]
            podman(*line, "trial", *files, "--out", "/essai/trial")
            self.assertTrue(list(pathlib.Path(out, "trial").iterdir()))


class InContainers(test_running.Scenario):
    kind = Containers

    def test_a_month_is_linked_by_what_the_manifests_say(self):
        host, nodes, pods = self.started()
        for pod in pods:
            self.confined(pod)
        self.scraped(pods)
        self.delivered(nodes)
        self.linked(host, nodes, "2024-01")
        self.saved()
        self.examined(pods)
        self.opened(host["analyst"])
        self.renewed(host["custodian"])
        self.named(host)
        for pod in pods:
            self.confined(pod)
        self.stopped(pods)

    def confined(self, pod):
        """What the kernel says of the container's first process."""
        process = self.machine.process(pod)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        facts = {name: value.split() for name, value in status.items()}
        self.assertEqual(facts["Uid"] + facts["Gid"], [str(ACCOUNT)] * 8)
        self.assertEqual({facts[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}, {"0" * 16})
        self.assertEqual((facts["NoNewPrivs"], facts["Seccomp"]), (["1"], ["2"]))
        # Point and options of every mount; proc(5), mountinfo.
        mounts = [line.split()[4:6] for line in (process / "mountinfo").read_text().splitlines()]
        writable = {point for point, options in mounts if "rw" in options.split(",") and point.split("/")[1] not in ("proc", "dev", "sys")}
        self.assertEqual(writable, {m["mountPath"] for m in pod.container["volumeMounts"] if not m.get("readOnly")})
        held = {p.name for p in (process / "root").iterdir()}
        self.assertEqual(held - {"proc", "dev", "sys", "etc", "run", "var"}, {"linkage", "licences", "tmp"})
        names = {p.name for p in (process / "root/etc").iterdir()}
        self.assertLessEqual(names, {"hosts", "hostname", "resolv.conf", "linkage", "mtab"}, "no accounts, no authorities, no time zones")
        environment = {pair.split("=", 1)[0] for pair in (process / "environ").read_text().split("\0") if pair}
        self.assertLessEqual(environment - set(self.machine.environment(pod)), {"PATH", "HOME", "HOSTNAME", "TERM", "container"})

    def examined(self, pods):
        """Each role finds nothing wrong with its place, keys, certificates, agreement and peers."""
        for pod in pods:
            text = self.execute(pod, "doctor", "--config", pod.container["args"][-1])
            self.assertIn("/var/lib/linkage", text)

    def opened(self, pod):
        """The analyst's page answers a browser."""
        context = ssl.create_default_context(cadata=self.machine.secrets["web"]["ca.crt"].decode())
        context.check_hostname = False
        asked = urllib.request.Request(f"https://{self.machine.address(pod)}:8444/", headers={"Host": "etude.exemple.fr"})
        with urllib.request.urlopen(asked, context=context, timeout=10) as answer:
            self.assertIn("<html", answer.read().decode())

    def named(self, host):
        """Roles found one another by name, through the search list, and asked for nobody else."""
        network = self.machine.network
        custodian = {name for name, address in network.hosts.items() if address == self.machine.address(host["custodian"])}
        self.assertLessEqual(custodian, network.asked)
        self.assertLessEqual({name.split(".")[0] for name in network.asked}, set(self.machine.hosts))

    def test_a_role_ends_with_its_reason(self):
        """A container that cannot start says why, and ends."""
        broker = self.federation.pods(self.federation.release("fautes", self.federation.host_values()))["broker"]
        held = self.machine.secrets["broker-cles"]
        self.machine.secrets["broker-cles"] = held | {"signing.key": b"AAAA\n"}
        try:
            code, text = self.machine.run(broker)
        finally:
            self.machine.secrets["broker-cles"] = held
        self.assertEqual(code, 1, text)
        self.assertRegex(text, r"signing\.key : une ligne de base64")


if __name__ == "__main__":
    unittest.main()
