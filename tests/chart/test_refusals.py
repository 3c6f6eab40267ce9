"""Values that cannot be meant are refused by lint and by template, and the refusal names the value."""

import json
import unittest

import helm

ALL = helm.matrix()["every-value"]
PARTNER = helm.matrix()["partenaire"]
TRIAL = helm.matrix()["essai"]

# (values, what is changed, what the refusal must name)
CASES = [
    # a secret that is missing, for every role
    *[(TRIAL, f'{role}.keys.existingSecret=""', f"/{role}/keys/existingSecret") for role in ("node", "custodian", "broker", "analyst")],
    *[(TRIAL, f'{role}.tls.existingSecret=""', f"/{role}/tls/existingSecret") for role in ("node", "custodian", "broker", "analyst")],
    (ALL, 'broker.objects.existingSecret=""', "/broker/objects/existingSecret"),
    (ALL, 'broker.objects.caConfigMap.name=""', "/broker/objects/caConfigMap/name"),
    (ALL, 'broker.objects.endpoint="http://minio.objets.svc:9000"', "/broker/objects/endpoint"),
    (ALL, 'analyst.page.oidc.caConfigMap.name=""', "/analyst/page/oidc/caConfigMap/name"),
    (TRIAL, 'broker.keys={"existingSecret":"","externalSecret":{"enabled":true}}', "/broker/keys/externalSecret/storeName"),
    (TRIAL, 'broker.tls={"existingSecret":"","certManager":{"enabled":true,"issuerName":"a"}}', "/broker/tls/certManager/uri"),
    (TRIAL, 'agreement.existingConfigMap=""', "/agreement/text"),
    # an unknown value
    (TRIAL, "brokerr={}", "brokerr"),
    (TRIAL, "broker.memory=4096", "memory"),
    (TRIAL, "broker.tls.certmanager={}", "certmanager"),
    (TRIAL, 'broker.limits={"max_connexions":10}', "max_connexions"),
    (TRIAL, 'node.replicas=2', "replicas"),
    # a wrong port
    (TRIAL, "broker.service.port=70000", "/broker/service/port"),
    (TRIAL, "broker.service.port=0", "/broker/service/port"),
    (TRIAL, 'broker.service.port="8443"', "/broker/service/port"),
    (TRIAL, "broker.service.nodePort=8443", "/broker/service/nodePort"),
    (PARTNER, 'node.brokerUrl="https://courtier.exemple.fr:84433"', "/node/brokerUrl"),
    (ALL, "networkPolicy.to.database.port=65536", "/networkPolicy/to/database/port"),
    # a wrong address
    (PARTNER, 'node.brokerUrl="http://courtier.exemple.fr:8443"', "/node/brokerUrl"),
    (PARTNER, 'node.brokerUrl="https://courtier.exemple.fr:8443/"', "/node/brokerUrl"),
    (PARTNER, 'node.custodianUrl=""', "node.custodianUrl"),
    (PARTNER, 'networkPolicy.to.broker.cidrs=["192.0.2.10"]', "/networkPolicy/to/broker/cidrs/0"),
    (PARTNER, 'networkPolicy.to.broker.cidrs=["192.0.2.0/33"]', "/networkPolicy/to/broker/cidrs/0"),
    # a wrong unit, a wrong number
    (TRIAL, 'broker.resources.limits.memory="4Go"', "/broker/resources/limits/memory"),
    (TRIAL, 'broker.resources.limits.memory="4096"', "/broker/resources/limits/memory"),
    (TRIAL, 'broker.resources.limits.cpu="500mili"', "/broker/resources/limits/cpu"),
    (TRIAL, 'broker.persistence.size="100"', "/broker/persistence/size"),
    (TRIAL, 'broker.memoryMib="2Gi"', "/broker/memoryMib"),
    (TRIAL, "broker.memoryMib=4096", "broker.memoryMib"),
    (TRIAL, 'broker.limits={"request_timeout_s":0}', "/broker/limits/request_timeout_s"),
    (TRIAL, 'broker.limits={"request_timeout_s":1.5}', "/broker/limits/request_timeout_s"),
    (TRIAL, "broker.terminationGracePeriodSeconds=15", "broker.terminationGracePeriodSeconds"),
    (ALL, 'monitoring.serviceMonitor.interval="30"', "/monitoring/serviceMonitor/interval"),
    (ALL, "analyst.database.revertTo=-1", "/analyst/database/revertTo"),
    (ALL, "custodian.database.connections=1", "/custodian/database/connections"),
    (TRIAL, 'backup={"enabled":true,"volumeClaim":"sauvegardes"}', "/backup/recoveryKey/configMap"),
    (TRIAL, 'backup={"enabled":true,"recoveryKey":{"configMap":"cle"}}', "/backup/volumeClaim"),
    (TRIAL, "backup.keepDays=365", "/backup/keepDays"),
    (TRIAL, 'backup.schedule="toutes les nuits"', "/backup/schedule"),
    # root, an image that changes under its name
    (TRIAL, "podAccount.user=0", "/podAccount/user"),
    (TRIAL, 'image.repository=""', "/image/repository"),
    (TRIAL, 'image.tag="latest"', "/image/tag"),
    (TRIAL, 'image.digest="sha256:abc"', "/image/digest"),
    (ALL, 'telemetry.otlpEndpoint="collecteur:4317"', "/telemetry/otlpEndpoint"),
    (ALL, 'node.analystUrls={"autre":"autre.exemple.fr"}', "/node/analystUrls/autre"),
    (ALL, "networkPolicy.to.telemetry.namespaceLabels=null", "networkPolicy.to.telemetry"),
    # a name that the agreement could not hold
    (PARTNER, 'node.party="CCAS de Lyon"', "/node/party"),
    (PARTNER, 'node.party=""', "/node/party"),
    (TRIAL, 'analyst.id=""', "/analyst/id"),
    # values that contradict one another
    (TRIAL, "broker.replicas=2", "broker.replicas"),
    (ALL, 'broker.objects.bucket=""', "broker.replicas"),
    (ALL, 'custodian.database.existingSecret=""', "custodian.replicas"),
    (TRIAL, 'broker.tls.certManager={"enabled":true,"issuerName":"a","uri":"linkage://a/broker"}', "broker.tls"),
    (TRIAL, 'agreement.text="x"', "agreement.text"),
    (ALL, 'node.passSet.existingConfigMap="x"', "/node/passSet/existingConfigMap"),
    (TRIAL, "custodian.enabled=false", "node.custodianUrl"),
    (PARTNER, "node.enabled=false", "node.enabled"),
    (helm.matrix()["etude"], "analyst.page.oidc.enabled=false", "analyst.page.certificates"),
    (ALL, 'analyst.page.publicUrl=""', "/analyst/page/publicUrl"),
    # a flow that a role needs and no policy would let through
    (PARTNER, "networkPolicy.to.broker.cidrs=[]", "networkPolicy.to.broker"),
    (helm.matrix()["tiers"], "networkPolicy.from.custodian.cidrs=[]", "networkPolicy.from.custodian"),
    (helm.matrix()["courtier-repliques"], "networkPolicy.to.database.cidrs=[]", "networkPolicy.to.database"),
    (helm.matrix()["courtier-repliques"], "networkPolicy.to.objects.cidrs=[]", "networkPolicy.to.objects"),
    (helm.matrix()["courtier-repliques"], 'networkPolicy.from.monitoring={"namespaceLabels":null,"podLabels":null}', "networkPolicy.from.monitoring"),
    (helm.matrix()["etude"], "networkPolicy.to.oidc.cidrs=[]", "networkPolicy.to.oidc"),
    (helm.matrix()["etude"], 'networkPolicy.from.page={"namespaceLabels":null}', "networkPolicy.from.page"),
]


class Refusals(unittest.TestCase):
    def test_each_is_refused_by_name(self):
        for values, change, name in CASES:
            with self.subTest(change=change):
                clean, text = helm.lint(values, [change])
                self.assertFalse(clean, "lint found nothing")
                self.assertIn(name, text)
        for values, change, name in CASES[::9]:
            with self.subTest(change=change, command="template"):
                worked, text = helm.template(values, [change])
                self.assertFalse(worked)
                self.assertIn(name, text)

    def test_no_object_of_the_schema_lets_unknown_values_through(self):
        schema = json.loads((helm.CHART / "values.schema.json").read_text())
        # Labels, annotations and the affinity of Kubernetes have keys of their own, analysts names of the agreement; `global` is Helm's.
        free = {"labels", "annotations", "global", "nodeAffinity", "podAffinity", "podAntiAffinity", "analystUrls"}

        def walk(node, name):
            if isinstance(node, dict):
                if node.get("type") == "object" and name not in free:
                    self.assertIs(node.get("additionalProperties"), False, name)
                for key, inner in node.items():
                    if key not in ("if", "then", "else", "not"):
                        walk(inner, key)
            elif isinstance(node, list):
                for inner in node:
                    walk(inner, name)

        walk(schema, "root")
