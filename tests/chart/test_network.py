"""The flows that the NetworkPolicies leave open, computed as a cluster would: those that the configurations need, and no other."""

import json
import unittest
from urllib.parse import urlsplit

import cluster
from test_objects import RENDERED, configuration, each_pod

DNS = {("UDP", 53), ("TCP", 53)}


def policies(objects, pod):
    return [p for p in cluster.of_kind(objects, "NetworkPolicy") if cluster.selects(pod.labels, p["spec"]["podSelector"]["matchLabels"])]


def openings(objects, pod, direction):
    """(peer as text, protocol, port) of everything open to or from a pod."""
    found = set()
    for policy in policies(objects, pod):
        for rule in policy["spec"].get(direction, []):
            peers = rule["from" if direction == "ingress" else "to"]
            assert peers and rule["ports"], "an empty list is everybody"
            for peer in peers:
                for port in rule["ports"]:
                    found.add((json.dumps(peer, sort_keys=True), port["protocol"], port["port"]))
    return found


def inside(objects, opening):
    """The pods of the installation that an opening leads to or comes from."""
    peer = json.loads(opening[0])
    labels = peer.get("podSelector", {}).get("matchLabels")
    if labels is None or "namespaceSelector" in peer or "ipBlock" in peer:
        return []
    return [p for p in cluster.pods(objects) if cluster.selects(p.labels, labels)]


def reached_port(url, objects):
    """The port that a connection to an address ends at: a Service of the installation passes on to its pod's."""
    address = urlsplit(url)
    for service in cluster.of_kind(objects, "Service"):
        if service["metadata"]["name"] == address.hostname:
            pod = next(p for p in cluster.pods(objects) if cluster.selects(p.labels, service["spec"]["selector"]))
            return next(pod.ports()[p["targetPort"]] for p in service["spec"]["ports"] if p["port"] == address.port)
    return address.port or 443


class Flows(unittest.TestCase):
    @each_pod
    def test_every_pod_is_denied_everything_first(self, name, objects, pod):
        found = policies(objects, pod)
        if name == "open-network":
            self.assertEqual(found, [])
            return
        denial = [p for p in found if "ingress" not in p["spec"] and "egress" not in p["spec"]]
        self.assertTrue(any(p["metadata"]["name"].endswith("-deny-all") for p in denial))
        for policy in found:
            self.assertEqual(policy["spec"]["policyTypes"], ["Ingress", "Egress"])

    @each_pod
    def test_each_address_of_a_configuration_is_open_and_nothing_else_is(self, name, objects, pod):
        if name == "open-network":
            return
        open_ports = {(protocol, port) for _, protocol, port in openings(objects, pod, "egress")}
        dns = {("UDP", 5353), ("TCP", 5353)} if name == "every-value" else DNS
        if pod.owner["kind"] == "Pod":
            self.assertEqual(open_ports, dns | {("TCP", 9464)})
            return
        config = configuration(pod, cluster.config_maps(objects))
        urls = [config.get("broker_url"), config.get("custodian_url"), config.get("objects", {}).get("endpoint")]
        urls.append(config.get("page", {}).get("oidc", {}).get("issuer"))
        urls.append(config.get("page", {}).get("broker_url"))
        urls += config.get("analyst_urls", {}).values()
        urls += [e["value"] for e in pod.container["env"] if e["name"] == "LINKAGE_OTLP_ENDPOINT"]
        if pod.owner["kind"] in ("Job", "CronJob"):
            urls = []
        needed = {("TCP", reached_port(url, objects)) for url in urls if url}
        if "database" in config:
            needed.add(("TCP", 5433 if name == "every-value" else 5432))
        # Who calls nobody asks for no name either.
        self.assertEqual(open_ports, needed | dns if needed else set())

    @each_pod
    def test_a_service_in_the_installation_is_reached_at_both_ends(self, name, objects, pod):
        for opening in openings(objects, pod, "egress"):
            for target in inside(objects, opening):
                if opening[2] not in target.ports().values():
                    continue
                sources = [s for other in openings(objects, target, "ingress") if other[2] == opening[2] for s in inside(objects, other)]
                self.assertIn(pod.name, [s.name for s in sources], (target.name, opening[2]))

    @each_pod
    def test_what_comes_in_comes_to_a_port_that_is_listened_on(self, name, objects, pod):
        if name == "open-network":
            return
        incoming = openings(objects, pod, "ingress")
        for _, protocol, port in incoming:
            self.assertEqual(protocol, "TCP")
            self.assertIn(port, pod.ports().values())
        if pod.component == "node":
            self.assertEqual({port for *_, port in incoming}, {9464})
        elif pod.owner["kind"] in ("Job", "Pod"):
            self.assertEqual(incoming, set())
        elif pod.component in ("broker", "custodian"):
            self.assertEqual({port for *_, port in incoming}, {8443, 9464})

    @each_pod
    def test_metrics_are_open_to_prometheus_only_where_it_is_named(self, name, objects, pod):
        peers = [json.loads(p) for p, _, port in openings(objects, pod, "ingress") if port == 9464]
        outside = [p for p in peers if "namespaceSelector" in p or "ipBlock" in p]
        expected = name in ("courtier-repliques", "every-value") and pod.owner["kind"] in ("Deployment", "StatefulSet")
        self.assertEqual(len(outside), int(expected))
