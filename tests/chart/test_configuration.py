"""The chart beside the program's source: every key of a configuration can be set, every metric of the dashboard exists, and the
README and the Containerfile name what there is."""

import json
import re
import tomllib
import unittest

import yaml

import cluster
import helm
from test_objects import RENDERED, configuration

SERVICES = helm.ROOT / "services"
# What only makes sense on the machine of whoever sits before it.
NOT_HERE = {
    "page.local_link": "a link for the loopback interface",
    "audit.replica": "LINKAGE_REPLICA names it: replicas share a configuration",
}
# One process with a volume has its audit log beside its data.
ALONE = {"node": {"audit.dir"}, "analyst": {"audit.dir"}}
# Types that are sections of their own, and where they are.
SECTIONS = {
    "AgreementFiles": "common/src/agreement_files.rs",
    "AuditConfig": "common/src/audit/config.rs",
    "TlsFiles": "common/src/tls/files.rs",
    "OpsConfig": "common/src/ops.rs",
    "DatabaseConfig": "common/src/database.rs",
    "ObjectsConfig": "common/src/objects.rs",
    "PageConfig": "analyst/src/page/config.rs",
    "OidcConfig": "analyst/src/page/config.rs",
}


def fields(path, struct):
    """Name -> type of a struct's public fields, as the source spells them."""
    body = re.search(rf"pub struct {struct} \{{\n(.*?)\n\}}", (SERVICES / path).read_text(), re.S)
    assert body, f"{struct} in {path}"
    return dict(re.findall(r"^    pub (\w+): (.+),$", body[1], re.M))


def keys(path, struct, prefix=""):
    """Every key of a configuration, sections unfolded."""
    found = set()
    for name, kind in fields(path, struct).items():
        inner = re.sub(r"^Option<(.*)>$", r"\1", kind)
        if inner in SECTIONS:
            found |= keys(SECTIONS[inner], inner, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def written(config, prefix=""):
    found = set()
    for name, value in config.items():
        found.add(prefix + name)
        if isinstance(value, dict):
            found |= written(value, f"{prefix}{name}.")
    return found


class Source(unittest.TestCase):
    def test_every_key_of_every_configuration_can_be_set(self):
        for role in ("node", "custodian", "broker", "analyst"):
            with self.subTest(role=role):
                expected = keys(f"{role}/src/config.rs", f"{role.capitalize()}Config") - set(NOT_HERE) - ALONE.get(role, set())
                found = set()
                for objects in RENDERED.values():
                    for pod in cluster.pods(objects):
                        if pod.component == role:
                            found |= written(configuration(pod, cluster.config_maps(objects)))
                self.assertEqual(expected - found, set(), "keys that no value of the chart sets")

    def test_the_limits_of_the_schema_are_those_of_the_program(self):
        schema = json.loads((helm.CHART / "values.schema.json").read_text())
        known = set(fields("common/src/tls/serving.rs", "Limits"))
        self.assertEqual(set(schema["definitions"]["limits"]["properties"]), known)

    def test_the_dashboard_asks_for_metrics_that_exist(self):
        source = (SERVICES / "common/src/metrics.rs").read_text()
        registered = re.findall(r'registered!\(\s*"(\w+)",\s*(?:Unit::(\w+),)?\s*"[^"]*",\s*([^;]*?)\)[,\n]', source, re.S)
        self.assertGreater(len(registered), 20)
        known = {"_".join(["linkage", name, *([unit.lower()] if unit else [])]) for name, unit, _ in registered}
        known |= {f"{name}{ending}" for name in known for ending in ("_total", "_bucket")}
        board = json.loads((helm.CHART / "dashboards" / "linkage.json").read_text())
        asked = set()
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                self.assertEqual(target["expr"].count("("), target["expr"].count(")"))
                asked |= set(re.findall(r"\blinkage_\w+", target["expr"]))
        self.assertGreater(len(asked), 15)
        self.assertEqual(asked - known, set())
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
        self.assertEqual(len(places), len(set(places)))
        self.assertEqual(len({p["id"] for p in board["panels"]}), len(places))
        rendered = cluster.config_maps(RENDERED["every-value"])["essai-tdu-dashboard"]["linkage.json"]
        self.assertEqual(json.loads(rendered), board)

    def test_the_files_of_a_delivery_of_the_operator_arrive_unchanged(self):
        values = yaml.safe_load((helm.VALUES / "every-value.yaml").read_text())
        node = cluster.config_maps(RENDERED["every-value"])["essai-tdu-node"]
        # Its digest is in the agreement: a byte more or less is another pass set.
        self.assertEqual(node["passes.toml"], values["node"]["passSet"]["text"])
        agreement = yaml.safe_load((helm.VALUES / "agreement-inline.yaml").read_text())["agreement"]
        inline = cluster.config_maps(RENDERED["partenaire"])["essai-linkage-convention"]
        self.assertEqual(list(inline.values()), [agreement["text"], agreement["signatures"]])

    def test_the_readme_explains_every_value(self):
        readme = (helm.CHART / "README.md").read_text()
        named = set(re.findall(r"`([\w.-]+)`", readme))

        def leaves(node, prefix=""):
            for name, value in node.items():
                if isinstance(value, dict) and value and not name.lower().endswith("labels"):
                    yield from leaves(value, f"{prefix}{name}.")
                else:
                    yield prefix + name

        missing = set()
        for path in leaves(yaml.safe_load((helm.CHART / "values.yaml").read_text())):
            # What several roles have alike is explained once, as ROLE.….
            spellings = {path, "ROLE." + path.partition(".")[2]}
            if not spellings & named:
                missing.add(path)
        self.assertEqual(missing, set())
        tops = yaml.safe_load((helm.CHART / "values.yaml").read_text())
        for path in sorted(n for n in named if n.partition(".")[0] in tops and "." in n):
            at = tops
            for part in path.split("."):
                self.assertIn(part, at, f"{path} is explained and is no value")
                at = at[part]

    def test_the_container_is_built_from_what_there_is(self):
        text = (helm.ROOT / "Containerfile").read_text()
        copied = [path for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M) for path in line.split()[:-1]]
        self.assertGreater(len(copied), 3)
        for path in copied:
            self.assertTrue((helm.ROOT / path).exists(), path)
        cargo = tomllib.loads((helm.ROOT / "Cargo.toml").read_text())
        members = {m.split("/")[0] for m in cargo["workspace"]["members"]}
        self.assertLessEqual(members | {"Cargo.toml", "Cargo.lock"}, {p.strip("./").split("/")[0] or "." for p in copied})
        user = re.search(r"^USER (\d+):(\d+)$", text, re.M)
        values = yaml.safe_load((helm.CHART / "values.yaml").read_text())
        self.assertEqual(values["podAccount"], {"user": int(user[1]), "group": int(user[2])})
        self.assertIn('ENTRYPOINT ["/linkage"]', text)
        chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())
        self.assertEqual({chart["version"], chart["appVersion"]}, {cargo["workspace"]["package"]["version"]})
