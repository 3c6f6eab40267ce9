"""What is rendered, run: every role of a federation as the manifests say, until the study holds the month's links.

A demonstration makes keys, certificates, a signed agreement and a month of deliveries. One release holds broker, custodian and
analyst, five hold a node each; their configurations, commands, environments, probes, hooks, backups and tests are those of the
manifests. Here they are processes; tests/image runs the same in containers.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import cluster
import helm
import machine
import objectstore
import postgresql
import probe

PATIENCE = 300
BINARY = pathlib.Path(os.environ.get("LINKAGE_BIN", helm.ROOT / "target" / "debug" / "linkage"))
HOST = "hote"
AGREEMENT = ("convention.toml", "convention.signatures.toml")


def until(what, condition, machine=None, pod=None):
    """Waits for `condition`; says what did not come, with the log of the pod."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come in {PATIENCE} s\n" + (machine.log(pod)[-3000:] if pod else ""))


class Federation:
    """The releases, their Secrets, and the machine that they run on."""

    def __init__(self, folder, server, kind):
        self.server = server
        self.folder = pathlib.Path(folder)
        self.site = self.folder / "site"
        demo = [str(BINARY), "demo", "--persons", "200", "--months", "1", "--seed", "7", "--keep", str(self.site)]
        recovery = self.folder / "secours"
        for line in (demo, [str(BINARY), "backup", "keys", "--out", str(recovery)]):
            made = subprocess.run(line, capture_output=True, text=True, timeout=300)
            assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
        self.parties = sorted(p.name for p in (self.site / "noeuds").iterdir())
        (self.folder / "machine").mkdir()
        self.machine = kind(self.folder / "machine", BINARY)
        self.machine.config_maps["convention"] = {name: (self.site / name).read_text() for name in AGREEMENT}
        self.machine.config_maps["cle-de-secours"] = {"secours.pub": (recovery / "secours.pub").read_text()}
        for role, home in (("broker", "courtier"), ("custodian", "tiers"), ("analyst", "etude")):
            self.keep(role, self.site / home)
        web = self.site / "etude" / "tls"
        self.machine.secrets["web"] = {"tls.crt": (web / "page.pem").read_bytes(), "tls.key": (web / "page.key").read_bytes(), "ca.crt": (web / "ca.pem").read_bytes()}
        self.host = self.release(HOST, self.host_values())
        self.nodes = {}
        for party in self.parties:
            self.keep(party, self.site / "noeuds" / party)
            self.nodes[party] = self.release(party, self.node_values(party))

    def keep(self, name, home):
        """Secrets as an operator makes them: kubectl create secret generic NAME-cles --from-file=cles/."""
        self.machine.secrets[f"{name}-cles"] = {p.name: p.read_bytes() for p in (home / "cles").iterdir()}
        tls = home / "tls"
        files = {"tls.crt": "certificat.pem", "tls.key": "certificat.key", "ca.crt": "ca.pem"}
        self.machine.secrets[f"{name}-tls"] = {key: (tls / file).read_bytes() for key, file in files.items()}

    def database(self, role):
        """A database of its own on the test's server; SQLite where there is none."""
        if not self.server:
            return {}
        self.machine.secrets[f"{role}-base"] = {"url": self.server.url(role)}
        return {"database": {"existingSecret": f"{role}-base"}}

    def role(self, name, **more):
        return {"enabled": True, "keys": {"existingSecret": f"{name}-cles"}, "tls": {"existingSecret": f"{name}-tls"}, **more}

    @staticmethod
    def backup(release):
        return {"enabled": True, "recoveryKey": {"configMap": "cle-de-secours"}, "volumeClaim": f"sauvegardes-{release}"}

    def host_values(self):
        # Files are looked at more often than every half minute, so that a renewal can be waited for.
        limits = {"reload_poll_ms": 200}
        page = {"enabled": True, "publicUrl": "https://etude.exemple.fr", "tls": {"existingSecret": "web"}}
        anybody = {"cidrs": ["127.0.0.0/8"]}
        return {
            "image": {"repository": "registre.exemple.fr/linkage"},
            "agreement": dict(zip(("text", "signatures"), ((self.site / name).read_text() for name in AGREEMENT))),
            "custodian": self.role("custodian", limits=limits, **self.database("custodian")),
            "broker": self.role("broker", limits=limits, **self.database("broker")),
            "analyst": self.role("analyst", id="etude", limits=limits, page=page),
            "backup": self.backup(HOST),
            "networkPolicy": {"from": {"broker": anybody, "custodian": anybody, "page": anybody}, "to": {"database": anybody}},
        }

    def objects_values(self, endpoint):
        """The host's, with a broker of several replicas that share their uploads and step outputs in an object store."""
        values = self.host_values()
        self.machine.secrets["objets"] = objectstore.KEYS
        self.machine.config_maps["autorite-objets"] = {"ca.crt": self.machine.secrets["web"]["ca.crt"].decode()}
        values["broker"] |= {
            "replicas": 2,
            "objects": {"endpoint": endpoint, "bucket": objectstore.BUCKET, "prefix": "essai", "existingSecret": "objets", "caConfigMap": {"name": "autorite-objets"}},
        }
        values["networkPolicy"]["to"]["objects"] = {"cidrs": ["127.0.0.0/8"]}
        return values

    def node_values(self, party):
        node = self.role(party, party=party, brokerUrl=f"https://{HOST}-linkage-broker:8443", custodianUrl=f"https://{HOST}-linkage-custodian:8443")
        node["analystUrls"] = {"etude": f"https://{HOST}-linkage-analyst:8443"}
        node["keys"]["groupContribution"] = True
        node["mapping"] = {"text": (self.site / "noeuds" / party / "correspondance.toml").read_text()}
        anybody = {"cidrs": ["127.0.0.0/8"]}
        return {
            "image": {"repository": "registre.exemple.fr/linkage"},
            "agreement": {"existingConfigMap": "convention"},
            "node": node,
            "backup": self.backup(party),
            "networkPolicy": {"to": {"broker": anybody, "custodian": anybody, "analyst": anybody}},
        }

    def release(self, name, values):
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(values))
        objects = helm.objects([path], release=name)
        self.machine.apply(objects)
        return objects

    def pods(self, objects):
        return {p.component: p for p in cluster.pods(objects) if p.owner["kind"] in ("Deployment", "StatefulSet")}


class Scenario(unittest.TestCase):
    """The steps from a release to a month's links, on whatever runs the containers."""

    kind = machine.Machine

    @classmethod
    def setUpClass(cls):
        assert BINARY.is_file(), f"{BINARY} is not built: cargo build --workspace"
        cls.folder = tempfile.mkdtemp(prefix="linkage-chart-")
        os.chmod(cls.folder, 0o755)
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.federation = Federation(cls.folder, cls.database_server(), cls.kind)
        cls.machine = cls.federation.machine
        cls.addClassCleanup(cls.machine.stop)

    @classmethod
    def database_server(cls):
        """The server that custodian and broker have a database on; none: SQLite on their volumes."""

    def ready(self, pod):
        """Asks the three probes of the manifest as a kubelet does."""
        host = self.machine.address(pod)
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = pod.container[kind]["grpc"]
            until(f"{pod.name}: {kind}", lambda: probe.grpc(host, asked["port"], asked["service"]) == probe.SERVING, self.machine, pod)

    def execute(self, pod, *arguments):
        """As kubectl exec."""
        code, text = self.machine.run(pod, list(arguments))
        self.assertEqual(code, 0, text)
        return text

    def started(self):
        """(pods of the host by role, node of each party, all of them): ready, and `helm test` says so too."""
        federation, machine_ = self.federation, self.machine
        host = federation.pods(federation.host)
        nodes = {party: federation.pods(objects)["node"] for party, objects in federation.nodes.items()}
        pods = [host["custodian"], host["broker"], host["analyst"], *nodes.values()]
        # The hooks, before any pod of theirs: each migrates the database that its role then finds as it should be.
        jobs = [p for p in cluster.pods(federation.host) if p.owner["kind"] == "Job"]
        self.assertEqual(len(jobs), 2 if federation.server else 0)
        for job in jobs:
            code, text = machine_.run(job)
            self.assertEqual(code, 0, text)
        for pod in pods:
            machine_.start(pod)
        for pod in pods:
            self.ready(pod)

        # `helm test`: the program asks itself.
        for objects in (federation.host, *federation.nodes.values()):
            test = next(p for p in cluster.pods(objects) if p.owner["kind"] == "Pod")
            for container in test.spec["containers"]:
                code, text = machine_.run(test, container["args"])
                self.assertEqual(code, 0, text)
        return host, nodes, pods

    def stopped(self, pods):
        """Every role ends in time when it is told to."""
        self.assertEqual(self.machine.stop(), [(pod, 0) for pod in pods])
        self.assertIsNone(probe.grpc(self.machine.address(pods[0]), 9464, "liveness"))

    def scraped(self, pods):
        """What Prometheus finds, and that it finds it without a certificate on no other port."""
        for pod in pods:
            status, text = probe.get(self.machine.address(pod), 9464, "/metrics")
            self.assertEqual(status, 200)
            self.assertRegex(text, r"(?m)^linkage_ready 1$")
            for port in set(pod.ports().values()) - {9464}:
                self.assertIsNone(probe.grpc(self.machine.address(pod), port, "liveness"), "asked without a certificate")

    def delivered(self, nodes):
        """Deliveries are put into the inboxes, and taken in."""
        for party, pod in nodes.items():
            source = next((self.federation.site / "donnees" / party).iterdir())
            inbox = self.machine.place(pod, "/var/lib/linkage-inbox/2024-01")
            inbox.mkdir()
            shutil.copy(source, inbox / source.name)
            if machine.ROOT:
                group = pod.spec["securityContext"]["fsGroup"]
                for path in (inbox, inbox / source.name):
                    os.chown(path, 0, group)
                    path.chmod(0o2770 if path.is_dir() else 0o660)
        coordinator = nodes["ccas"]
        config = coordinator.container["args"][-1]

        def taken():
            return all(json.loads(self.execute(pod, "node", "status", "--json", "--config", config)).get("deliveries") for pod in nodes.values())

        until("the intake of the deliveries", taken, self.machine, coordinator)

    def linked(self, host, nodes, run):
        """The coordinator opens a run, the study receives the links."""
        coordinator = nodes["ccas"]
        self.execute(coordinator, "run", "open", "--config", coordinator.container["args"][-1], "--run", run, "--period", "2024-01")
        table = self.machine.place(host["analyst"], f"/var/lib/linkage/data/tables/{run}/link_table.csv")
        until("the link table", table.is_file, self.machine, host["broker"])
        expected = (self.federation.site / "etude/donnees/tables/2024-01/link_table.csv").read_text().splitlines()
        self.assertEqual(len(table.read_text().splitlines()), len(expected))
        persons = {line.split(",")[0] for line in expected}
        self.assertEqual(len({line.split(",")[0] for line in table.read_text().splitlines()}), len(persons))

    def saved(self):
        """The backup of each role that serves is one file."""
        for objects in (self.federation.host, self.federation.nodes["ccas"]):
            jobs = [p for p in cluster.pods(objects) if p.owner["kind"] == "CronJob"]
            self.assertTrue(jobs)
            for job in jobs:
                code, text = self.machine.run(job)
                self.assertEqual(code, 0, text)
                self.assertEqual(len(list(self.machine.place(job, "/var/lib/linkage-backup").iterdir())), 1, text)

    def renewed(self, pod):
        """A renewed Secret reaches the process that runs."""
        volume = pod.volumes["tls"]
        parts = list(cluster.sources(volume))
        name = parts[0][1]
        # The same certificate with another line end: another file for the process, nothing to issue here.
        self.machine.secrets[name] = self.machine.secrets[name] | {"tls.crt": self.machine.secrets[name]["tls.crt"] + b"\n"}
        self.machine.publish(pod, self.machine.home(pod) / "tls", parts, pod.spec["securityContext"]["fsGroup"])
        until("the renewed certificate", lambda: "certificates taken over again" in self.machine.log(pod), self.machine, pod)


class Running(Scenario):
    @classmethod
    def database_server(cls):
        if not postgresql.FOUND:
            # tests/run.sh installs it, and says where it cannot.
            assert not os.environ.get("CI"), "no PostgreSQL: install the package postgresql"
            return None
        server = postgresql.Server(pathlib.Path(cls.folder) / "postgresql")
        cls.addClassCleanup(server.stop)
        return server

    def test_a_month_is_linked_by_what_the_manifests_say(self):
        host, nodes, pods = self.started()
        self.scraped(pods)
        self.delivered(nodes)
        self.linked(host, nodes, "2024-01")
        self.saved()
        self.renewed(host["custodian"])
        if self.federation.server and objectstore.FOUND:
            pods.append(self.shared(host, nodes))
            pods.remove(host["broker"])
        self.stopped(pods)

    def shared(self, host, nodes):
        """The broker's release is upgraded to replicas that share an object store: another pod in its place links the month again, and
        leaves nothing in the store, and nothing of a run in its own folder."""
        machine_, former = self.machine, host["broker"]
        web = self.federation.site / "etude" / "tls"
        store = objectstore.Server(machine_.folder, web / "page.pem", web / "page.key", web / "ca.pem")
        self.addClassCleanup(store.stop)
        rendered = self.federation.release(HOST, self.federation.objects_values(store.endpoint))
        broker = self.federation.pods(rendered)["broker"]
        self.assertEqual((broker.owner["kind"], broker.owner["spec"]["replicas"]), ("Deployment", 2))
        self.assertEqual(machine_.stop(former), [(former, 0)])
        machine_.replace(former, broker)
        job = next(p for p in cluster.pods(rendered) if p.owner["kind"] == "Job" and p.component.startswith("broker"))
        code, text = machine_.run(job)
        self.assertEqual(code, 0, text)
        machine_.start(broker)
        self.ready(broker)
        self.linked(host | {"broker": broker}, nodes, "2024-01-objets")
        put = {path.split("/")[1] for path in store.asked("PUT") if path.startswith("essai/")}
        self.assertEqual(put, {"uploads", "outputs"}, store.path.read_text()[-3000:])
        until("the deletion of what the run held", lambda: not store.held(), machine_, broker)
        data = machine_.place(broker, "/var/lib/linkage/data")
        self.assertEqual([p for p in data.rglob("*") if p.is_file() and set(p.relative_to(data).parts) & {"uploads", "outputs"}], [])
        return broker

    def test_what_is_wrong_is_said_at_start(self):
        """A pod whose Secrets do not fit ends with the name of what is wrong, and says no more than that."""
        broker = self.federation.pods(self.federation.release("fautes", self.federation.host_values()))["broker"]
        held = dict(self.machine.secrets["broker-cles"])
        cases = [
            ({"signing.key": self.machine.secrets["custodian-cles"]["signing.key"]}, r"signing_key"),
            ({"signing.key": b"AAAA\n"}, r"signing\.key : une ligne de base64"),
        ]
        try:
            for change, message in cases:
                with self.subTest(message=message):
                    self.machine.secrets["broker-cles"] = held | change
                    code, text = self.machine.run(broker)
                    self.assertEqual(code, 1, text)
                    self.assertRegex(text, message)
                    self.assertNotIn(held["signing.key"].decode().strip(), text)
        finally:
            self.machine.secrets["broker-cles"] = held
        # A key that everybody may read is refused, whoever holds it.
        line, environment = self.machine.command(broker)
        self.machine.place(broker, "/etc/linkage/keys/signing.key").resolve().chmod(0o444)
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, cwd="/")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("accessible à d'autres comptes (mode 0444)", done.stderr)

    def test_how_much_of_a_container_this_machine_gives(self):
        """Says in the test's output what was checked here."""
        account = "the pod's own account" if machine.ROOT else "the account of the test"
        disk = "a read-only root filesystem" if machine.READ_ONLY else "a writable root filesystem"
        base = "PostgreSQL" if self.federation.server else "SQLite"
        store = "and then on an object store" if self.federation.server and objectstore.FOUND else "never on an object store"
        print(f"processes ran as {account}, on {disk}, custodian and broker on {base}, the broker's blobs in files {store}", flush=True)


if __name__ == "__main__":
    unittest.main()
