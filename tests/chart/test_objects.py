"""Everything that is rendered, over the matrix of values: valid, closed down, and of one piece."""

import re
import tomllib
import unittest
from collections import Counter

import kubernetes_validate

import cluster
import helm

RENDERED = {name: helm.objects(values) for name, values in helm.matrix().items()}
CUSTOM = {"Certificate", "ExternalSecret", "ServiceMonitor"}
OWN_REPOSITORY = re.compile(r"registre\.exemple\.fr(:5000)?/linkage(:[0-9.]+|@sha256:[0-9a-f]{64})")
PRIVATE = re.compile(r"-----BEGIN[A-Z ]* PRIVATE KEY|postgres(ql)?://|[A-Za-z0-9+/]{43}=(\s|\"|$)|password|mot.de.passe", re.I)


def strings(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def configuration(pod, rendered):
    """The TOML that the pod's command is given, as data; None for a pod without."""
    arguments = pod.container["args"]
    if "--config" not in arguments:
        return None
    path = arguments[arguments.index("--config") + 1]
    mount = pod.mount_of(path)
    for kind, name, _, _ in cluster.sources(pod.volumes[mount["name"]]):
        data = rendered.get(name, {}) if kind == "ConfigMap" else {}
        if path.rpartition("/")[2] in data:
            return tomllib.loads(data[path.rpartition("/")[2]])
    raise AssertionError(f"{pod.name}: {path} is in no volume")


def each(test):
    """Runs a test for every combination of values."""

    def over_all(self):
        for name, objects in RENDERED.items():
            with self.subTest(values=name):
                test(self, name, objects)

    return over_all


def each_pod(test):
    """Runs a test for every pod of every combination."""

    def over_all(self):
        for name, objects in RENDERED.items():
            for pod in cluster.pods(objects):
                with self.subTest(values=name, pod=pod.name):
                    test(self, name, objects, pod)

    return over_all


class Matrix(unittest.TestCase):
    """Each test runs over every combination."""

    def test_there_are_twelve_combinations_and_each_role_stands_alone_in_one(self):
        self.assertGreaterEqual(len(RENDERED), 12)
        alone = set()
        for objects in RENDERED.values():
            roles = {p.component for p in cluster.pods(objects) if p.owner["kind"] in ("Deployment", "StatefulSet")}
            alone |= roles if len(roles) == 1 else set()
        self.assertEqual(alone, {"node", "custodian", "broker", "analyst"})

    def test_lint_finds_nothing(self):
        for name, values in helm.matrix().items():
            with self.subTest(values=name):
                clean, text = helm.lint(values)
                self.assertTrue(clean, text)
                self.assertNotIn("[WARNING]", text)

    @each
    def test_kubernetes_knows_every_field(self, name, objects):
        for one in objects:
            if one["kind"] in CUSTOM:
                continue
            for version in helm.KUBERNETES:
                kubernetes_validate.validate(one, version, strict=True)

    def test_names_are_unique_and_short_whatever_the_release_is_called(self):
        for name, values in helm.matrix().items():
            with self.subTest(values=name):
                objects = helm.objects(values, release="une-installation-dont-le-nom-est-le-plus-long-permis")
                # The role's ConfigMap and its copy for the hook differ in name; nothing else is rendered twice.
                count = Counter((o["kind"], o["metadata"]["name"]) for o in objects)
                self.assertEqual([k for k, n in count.items() if n > 1], [])
                for kind, object_name in count:
                    self.assertLessEqual(len(object_name), 63, (kind, object_name))

    @each
    def test_no_secret_is_rendered(self, name, objects):
        self.assertEqual(cluster.of_kind(objects, "Secret"), [])
        for name, data in cluster.config_maps(objects).items():
            for key, text in data.items():
                self.assertIsNone(PRIVATE.search(text), (name, key))
        for pod in cluster.pods(objects):
            for container in pod.spec["containers"]:
                for variable in container.get("env", []):
                    if variable["name"] == "LINKAGE_REPLICA" and pod.owner["kind"] == "Deployment":
                        self.assertEqual(variable["valueFrom"], {"fieldRef": {"fieldPath": "metadata.name"}})
                        continue
                    self.assertEqual(set(variable), {"name", "value"}, variable)
                    self.assertIsNone(PRIVATE.search(variable["value"]), variable)

    @each_pod
    def test_every_pod_is_closed_down(self, name, objects, pod):
        spec = pod.spec
        self.assertIs(spec["automountServiceAccountToken"], False)
        self.assertIs(spec["enableServiceLinks"], False)
        for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace", "initContainers"):
            self.assertNotIn(key, spec)
        security = spec["securityContext"]
        self.assertIs(security["runAsNonRoot"], True)
        self.assertGreater(security["runAsUser"], 0)
        self.assertGreater(security["runAsGroup"], 0)
        self.assertEqual(security["fsGroup"], security["runAsGroup"])
        self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertEqual(security["fsGroupChangePolicy"], "OnRootMismatch")
        for container in spec["containers"]:
            self.assertEqual(
                container["securityContext"],
                {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "runAsNonRoot": True,
                    "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
            )
            self.assertRegex(container["image"], f"^{OWN_REPOSITORY.pattern}$")
            self.assertEqual(container["command"], ["/linkage"])
            self.assertIn("memory", container["resources"]["limits"])
            self.assertEqual({"cpu", "memory"}, set(container["resources"]["requests"]))

    @each
    def test_what_the_service_account_may_do_is_nothing(self, name, objects):
        accounts = {o["metadata"]["name"]: o for o in cluster.of_kind(objects, "ServiceAccount")}
        for account in accounts.values():
            self.assertIs(account["automountServiceAccountToken"], False)
        used = {pod.spec["serviceAccountName"] for pod in cluster.pods(objects)}
        self.assertEqual(used, set(accounts) or {"existant"})
        self.assertEqual(cluster.of_kind(objects, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), [], name)

    @each_pod
    def test_volumes_and_mounts_are_of_one_piece(self, name, objects, pod):
        offered = set(pod.volumes) | pod.claims
        self.assertEqual(len(offered), len(pod.volumes) + len(pod.claims))
        mounted = set()
        for container in pod.spec["containers"]:
            for mount in container.get("volumeMounts", []):
                mounted.add(mount["name"])
                # A subPath would never see a renewed certificate; backups are nothing that is renewed.
                if mount["name"] != "backups":
                    self.assertNotIn("subPath", mount)
        self.assertEqual(mounted, offered)
        rendered = cluster.config_maps(objects)
        for volume in pod.volumes.values():
            self.assertNotIn("hostPath", volume)
            if "emptyDir" in volume:
                self.assertIn("sizeLimit", volume["emptyDir"])
            for kind, name, wanted, _ in cluster.sources(volume):
                source = volume.get("secret") or volume.get("projected") or {}
                if kind == "Secret":
                    self.assertEqual(source["defaultMode"], 0o440)
                    self.assertIsNotNone(wanted, "only what the role needs of a Secret")
                elif name in rendered and wanted is not None:
                    self.assertLessEqual(set(wanted.values()), set(rendered[name]))

    @each_pod
    def test_every_path_in_a_configuration_lies_in_a_volume(self, name, objects, pod):
        rendered = cluster.config_maps(objects)
        if pod.owner["kind"] == "Pod":
            return
        config = configuration(pod, rendered)
        # The hook reads the section on the database and nothing else.
        needed = config if pod.owner["kind"] != "Job" else {k: config[k] for k in ("data_dir", "database") if k in config}
        if pod.owner["kind"] == "Job" and "database" in config:
            needed.pop("data_dir")
        if pod.owner["kind"] == "CronJob":
            # A backup reads neither deliveries, nor the page's files, nor the object store.
            needed = {k: v for k, v in config.items() if k not in ("inbox_dir", "page", "objects")}
        for path in strings(needed):
            if not path.startswith("/"):
                continue
            mount = pod.mount_of(path)
            self.assertIsNotNone(mount, path)
            volume = pod.volumes.get(mount["name"])
            files = cluster.files_of(volume, rendered) if volume else None
            inner = path[len(mount["mountPath"]) + 1 :]
            if files is None:
                self.assertFalse(mount.get("readOnly", False), path)
            elif inner:
                self.assertIn(inner, files, path)

    @each_pod
    def test_probes_are_for_ports_that_are_listened_on(self, name, objects, pod):
        if pod.owner["kind"] not in ("Deployment", "StatefulSet"):
            return
        ports = pod.ports()
        config = configuration(pod, cluster.config_maps(objects))
        listened = {config["ops"]["listen"]} | {config[k] for k in ("listen",) if k in config}
        listened |= {config["page"]["listen"]} if "page" in config else set()
        self.assertEqual({int(a.rpartition(":")[2]) for a in listened}, set(ports.values()))
        for kind, service in (("startup", "liveness"), ("liveness", "liveness"), ("readiness", "readiness")):
            probe = pod.container[f"{kind}Probe"]["grpc"]
            self.assertEqual(probe, {"port": ports["ops"], "service": service})

    @each
    def test_selectors_find_the_pods_they_mean(self, name, objects):
        pods = cluster.pods(objects)
        served = [p for p in pods if p.owner["kind"] in ("Deployment", "StatefulSet")]
        for pod in served:
            selector = pod.owner["spec"]["selector"]["matchLabels"]
            # A selector can never be changed: it holds nothing that a new version changes.
            self.assertEqual({k.rpartition("/")[2] for k in selector}, {"name", "instance", "component"})
            self.assertEqual([p.name for p in pods if cluster.selects(p.labels, selector)], [pod.name])
            for spread in pod.spec.get("topologySpreadConstraints", []):
                self.assertTrue(cluster.selects(pod.labels, spread["labelSelector"]["matchLabels"]))
        for budget in cluster.of_kind(objects, "PodDisruptionBudget"):
            found = [p for p in pods if cluster.selects(p.labels, budget["spec"]["selector"]["matchLabels"])]
            self.assertEqual([p.owner["metadata"]["name"] for p in found], [budget["metadata"]["name"]])
            self.assertGreaterEqual(budget["spec"]["maxUnavailable"], 1)
        for service in cluster.of_kind(objects, "Service"):
            found = [p for p in pods if cluster.selects(p.labels, service["spec"]["selector"])]
            self.assertEqual(len(found), 1, service["metadata"]["name"])
            for port in service["spec"]["ports"]:
                self.assertIn(port["targetPort"], found[0].ports())
            if service["spec"].get("clusterIP") != "None":
                self.assertNotIn("ops", [p["targetPort"] for p in service["spec"]["ports"]])
        names = {s["metadata"]["name"] for s in cluster.of_kind(objects, "Service")}
        for pod in served:
            if pod.owner["kind"] == "StatefulSet":
                self.assertIn(pod.owner["spec"]["serviceName"], names)

    @each_pod
    def test_replicas_share_their_state_and_single_pods_keep_theirs(self, name, objects, pod):
        spec = pod.owner["spec"]
        if pod.owner["kind"] == "Deployment":
            config = configuration(pod, cluster.config_maps(objects))
            self.assertIn("database", config)
            self.assertTrue(pod.component != "broker" or "objects" in config)
            # An audit log outlives its process; each replica writes its own.
            claim = pod.volumes[pod.mount_of(config["audit"]["dir"])["name"]]["persistentVolumeClaim"]["claimName"]
            claims = {c["metadata"]["name"]: c for c in cluster.of_kind(objects, "PersistentVolumeClaim")}
            if claim != "journaux":
                self.assertEqual(claims[claim]["spec"]["accessModes"], ["ReadWriteMany"])
                self.assertEqual(claims[claim]["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"})
            self.assertIn("LINKAGE_REPLICA", [e["name"] for e in pod.container["env"]])
            # Kubernetes appends 17 characters at most; a log's name has 64.
            self.assertLessEqual(len(pod.owner["metadata"]["name"]) + 17, 64)
            self.assertEqual(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
        elif pod.owner["kind"] == "StatefulSet":
            self.assertLessEqual(spec["replicas"], 1)
            self.assertIn("data", pod.claims)
            self.assertEqual(spec["persistentVolumeClaimRetentionPolicy"], {"whenDeleted": "Retain", "whenScaled": "Retain"})

    def test_a_changed_configuration_starts_the_pod_anew(self):
        for name, values in helm.matrix().items():
            with self.subTest(values=name):
                before = cluster.pods(RENDERED[name])
                changed = helm.objects(values, ['log={"filter":"warn"}', 'listenAddress="[::]"' if name != "every-value" else 'listenAddress="0.0.0.0"'])
                for old, new in zip(before, cluster.pods(changed)):
                    if old.owner["kind"] in ("Deployment", "StatefulSet"):
                        self.assertNotEqual(old.annotations["checksum/config"], new.annotations["checksum/config"])


class Custom(unittest.TestCase):
    """Objects of other operators of the cluster, which kubernetes-validate has no schemas of."""

    def found(self, kind):
        return [(n, o) for n, objects in RENDERED.items() for o in cluster.of_kind(objects, kind)]

    def test_certificates_name_one_role_and_fill_the_secret_that_is_mounted(self):
        found = self.found("Certificate")
        self.assertEqual(len(found), 3)
        for name, one in found:
            spec = one["spec"]
            self.assertEqual(one["apiVersion"], "cert-manager.io/v1")
            self.assertEqual(len(spec.get("uris", []) + spec.get("dnsNames", [])), 1)
            self.assertEqual(spec["privateKey"], {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"})
            self.assertEqual({"name", "kind", "group"}, set(spec["issuerRef"]))
            self.assertIn("server auth", spec["usages"])
            self.assertEqual("uris" in spec, "client auth" in spec["usages"])
            self.assertIn(spec["secretName"], mounted_secrets(RENDERED[name]))

    def test_external_secrets_fill_the_secrets_that_are_mounted(self):
        found = self.found("ExternalSecret")
        self.assertEqual(len(found), 2)
        for name, one in found:
            self.assertEqual(one["apiVersion"], "external-secrets.io/v1")
            self.assertEqual(one["spec"]["target"]["deletionPolicy"], "Retain")
            self.assertTrue(one["spec"]["dataFrom"][0]["extract"]["key"].startswith("linkage/siao/"))
            self.assertIn(one["spec"]["target"]["name"], mounted_secrets(RENDERED[name]))

    def test_the_monitor_finds_every_role(self):
        found = self.found("ServiceMonitor")
        self.assertEqual(len(found), 2)
        for name, one in found:
            selector = one["spec"]["selector"]["matchLabels"]
            services = [s for s in cluster.of_kind(RENDERED[name], "Service") if cluster.selects(s["metadata"]["labels"], selector)]
            roles = {p.component for p in cluster.pods(RENDERED[name]) if p.owner["kind"] in ("Deployment", "StatefulSet")}
            self.assertEqual({s["metadata"]["labels"]["app.kubernetes.io/component"] for s in services}, roles)
            for endpoint in one["spec"]["endpoints"]:
                for service in services:
                    self.assertIn(endpoint["port"], [p["name"] for p in service["spec"]["ports"]])


class Hooks(unittest.TestCase):
    def hooks(self, name):
        hooks = [o for o in RENDERED[name] if "helm.sh/hook" in o["metadata"].get("annotations", {})]
        return {(o["kind"], o["metadata"]["name"]): o["metadata"]["annotations"] for o in hooks}

    def test_a_shared_database_is_migrated_before_the_new_pods_start(self):
        hooks = self.hooks("courtier-repliques")
        job, config = ("Job", "essai-linkage-broker-migrate"), ("ConfigMap", "essai-linkage-broker-migrate")
        self.assertEqual(set(hooks), {job, config, ("Pod", "essai-linkage-test")})
        self.assertEqual({hooks[job]["helm.sh/hook"], hooks[config]["helm.sh/hook"]}, {"pre-upgrade"})
        self.assertLess(int(hooks[config]["helm.sh/hook-weight"]), int(hooks[job]["helm.sh/hook-weight"]))
        pod = next(p for p in cluster.pods(RENDERED["courtier-repliques"]) if p.owner["kind"] == "Job")
        self.assertEqual(pod.container["args"], ["database", "migrate", "--config", "/etc/linkage/config/broker.toml"])
        self.assertEqual(set(pod.volumes), {"config", "database", "tmp"})
        self.assertEqual(self.hooks("tiers"), {("Pod", "essai-linkage-test"): self.hooks("tiers")[("Pod", "essai-linkage-test")]})

    def test_a_schema_is_taken_back_once_the_role_is_stopped(self):
        objects = RENDERED["revert"]
        for pod in cluster.pods(objects):
            if pod.owner["kind"] in ("Deployment", "StatefulSet"):
                self.assertEqual(pod.owner["spec"]["replicas"], 0)
            elif pod.owner["kind"] == "Job":
                self.assertEqual(pod.owner["metadata"]["annotations"]["helm.sh/hook"], "post-upgrade")
                wanted = {"custodian-migrate": "3", "analyst-migrate": "0"}[pod.component]
                self.assertEqual(pod.container["args"][-3:], ["--to", wanted, "--back"])
        claims = [v["persistentVolumeClaim"]["claimName"] for p in cluster.pods(objects) for v in p.volumes.values() if "persistentVolumeClaim" in v]
        self.assertIn("data-essai-linkage-analyst-0", claims)

    def test_each_role_is_saved_from_its_own_volume_to_the_one_named(self):
        none = [p for p in cluster.pods(RENDERED["essai"]) if p.owner["kind"] == "CronJob"]
        self.assertEqual(none, [])
        for name in ("every-value", "sauvegarde"):
            objects = RENDERED[name]
            pods = cluster.pods(objects)
            served = {p.component: p for p in pods if p.owner["kind"] in ("Deployment", "StatefulSet")}
            saved = {p.component.removesuffix("-backup"): p for p in pods if p.owner["kind"] == "CronJob"}
            self.assertEqual(set(saved), set(served), name)
            for role, pod in saved.items():
                with self.subTest(values=name, role=role):
                    self.assertEqual(pod.owner["spec"]["concurrencyPolicy"], "Forbid")
                    arguments = pod.container["args"]
                    self.assertEqual(arguments[:4], ["backup", "create", "--config", f"/etc/linkage/config/{role}.toml"])
                    given = dict(zip(arguments[4::2], arguments[5::2]))
                    self.assertEqual(set(given), {"--to", "--folder", "--keep-days"})
                    recovery = pod.volumes[pod.mount_of(given["--to"])["name"]]
                    wanted = {"secours.pub": "clef.pub" if name == "every-value" else "secours.pub"}
                    self.assertEqual([s[1:3] for s in cluster.sources(recovery)], [("cle-de-secours", wanted)])
                    to = pod.volumes[pod.mount_of(given["--folder"])["name"]]["persistentVolumeClaim"]
                    self.assertEqual(to["claimName"], "sauvegardes")
                    self.assertEqual(pod.mount_of(given["--folder"])["subPath"], role)
                    # Files, keys and settings are mounted where the role has them; deliveries and what serves the page alone are not.
                    left_out = {"inbox", "page-tls", "oidc", "oidc-ca", "objects", "objects-ca"}
                    own = {m["mountPath"]: m["name"] for m in pod.container["volumeMounts"]}
                    self.assertEqual((left_out & set(own.values())) | (left_out & set(pod.volumes)), set())
                    for mount in served[role].container["volumeMounts"]:
                        if mount["name"] not in left_out:
                            self.assertEqual(own[mount["mountPath"]], mount["name"])
                    if served[role].owner["kind"] == "StatefulSet":
                        claim = pod.volumes["data"]["persistentVolumeClaim"]["claimName"]
                        self.assertEqual(claim, f"data-{served[role].owner['metadata']['name']}-0")
                        together = pod.spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                        selector = together[0]["labelSelector"]["matchLabels"]
                        self.assertTrue(cluster.selects(served[role].labels, selector))
                    else:
                        self.assertEqual(pod.volumes["audit"], served[role].volumes["audit"])
                        replica = [e["value"] for e in pod.container["env"] if e["name"] == "LINKAGE_REPLICA"]
                        self.assertEqual(replica, ["sauvegarde"])

    def test_the_test_pod_asks_every_role(self):
        for name, objects in RENDERED.items():
            with self.subTest(values=name):
                pod = next(p for p in cluster.pods(objects) if p.owner["kind"] == "Pod")
                services = {s["metadata"]["name"] for s in cluster.of_kind(objects, "Service")}
                asked = {c["args"][-1].removeprefix("http://").removesuffix(":9464") for c in pod.spec["containers"]}
                self.assertEqual(asked, {s for s in services if s.endswith("-ops")})


def mounted_secrets(objects):
    found = set()
    for pod in cluster.pods(objects):
        for volume in pod.volumes.values():
            found |= {name for kind, name, _, _ in cluster.sources(volume) if kind == "Secret"}
    return found
