"""What a cluster makes of the rendered objects: which pods there are, whom a selector finds, what lies in a volume."""

import yaml

WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob"}


class Pod:
    """A pod, or the template of one."""

    def __init__(self, owner):
        self.owner = owner
        spec = owner["spec"]["jobTemplate"]["spec"] if owner["kind"] == "CronJob" else owner["spec"]
        template = spec["template"] if owner["kind"] in WORKLOADS else owner
        self.labels = template["metadata"].get("labels", {})
        self.annotations = template["metadata"].get("annotations", {})
        self.spec = template["spec"]
        self.claims = {c["metadata"]["name"] for c in owner["spec"].get("volumeClaimTemplates", [])}
        self.volumes = {v["name"]: v for v in self.spec.get("volumes", [])}
        self.name = f"{owner['kind']}/{owner['metadata']['name']}"
        self.component = self.labels["app.kubernetes.io/component"]

    @property
    def container(self):
        assert len(self.spec["containers"]) == 1, self.name
        return self.spec["containers"][0]

    def ports(self):
        return {p["name"]: p["containerPort"] for c in self.spec["containers"] for p in c.get("ports", [])}

    def mount_of(self, path):
        """The mount that `path` lies in, the innermost."""
        mounts = [m for m in self.spec["containers"][0].get("volumeMounts", []) if path == m["mountPath"] or path.startswith(m["mountPath"] + "/")]
        return max(mounts, key=lambda m: len(m["mountPath"]), default=None)


def pods(objects):
    return [Pod(one) for one in objects if one["kind"] in WORKLOADS | {"Pod"}]


def of_kind(objects, *kinds):
    return [one for one in objects if one["kind"] in kinds]


def selects(labels, selector):
    return all(labels.get(k) == v for k, v in selector.items())


def items(source):
    """The items of a Secret or ConfigMap source: {file: key}, or None for all of it."""
    return {i["path"]: i["key"] for i in source["items"]} if "items" in source else None


def sources(volume):
    """(kind, name, {file: key} or None, optional) of every Secret and ConfigMap in a volume."""
    if "secret" in volume:
        s = volume["secret"]
        yield "Secret", s["secretName"], items(s), s.get("optional", False)
    if "configMap" in volume:
        s = volume["configMap"]
        yield "ConfigMap", s["name"], items(s), s.get("optional", False)
    for source in volume.get("projected", {}).get("sources", []):
        for kind, key in (("Secret", "secret"), ("ConfigMap", "configMap")):
            if key in source:
                s = source[key]
                yield kind, s["name"], items(s), s.get("optional", False)


def config_maps(objects):
    """Name -> data. A hook's stands beside the role's own."""
    return {o["metadata"]["name"]: o.get("data", {}) for o in of_kind(objects, "ConfigMap")}


def files_of(volume, rendered):
    """Names of the files in a volume of Secrets and ConfigMaps; None when it is a folder to write to."""
    found = set()
    known = False
    for kind, name, wanted, _ in sources(volume):
        known = True
        found |= set(wanted) if wanted is not None else set(rendered.get(name, {}) if kind == "ConfigMap" else {})
    return found if known else None


def load(text):
    return [one for one in yaml.safe_load_all(text) if one]
