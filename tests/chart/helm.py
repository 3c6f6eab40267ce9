"""Calls the real Helm on helm/linkage: lint, template, notes. Every call is a process of its own; nothing reaches a cluster."""

import os
import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "linkage"
VALUES = pathlib.Path(__file__).resolve().parent / "values"
EXAMPLES = CHART / "examples"
HELM = os.environ.get("HELM", "helm")
RELEASE = "essai"
NAMESPACE = "social"
# The oldest and the newest Kubernetes that the chart says it fits and kubernetes-validate has schemas of.
KUBERNETES = ("1.30", "1.37")


def call(arguments, values, sets=()):
    files = [option for path in values for option in ("-f", str(path))]
    options = [option for one in sets for option in ("--set-json", one)]
    done = subprocess.run([HELM, *arguments, *files, *options], capture_output=True, text=True, timeout=120)
    return done.returncode == 0, done.stdout + done.stderr


def lint(values, sets=()):
    return call(["lint", "--strict", str(CHART)], values, sets)


def template(values, sets=(), release=RELEASE, options=()):
    arguments = ["template", release, str(CHART), "-n", NAMESPACE, "--kube-version", KUBERNETES[0], *options]
    return call(arguments, values, sets)


def objects(values, sets=(), release=RELEASE, options=()):
    """The rendered objects; hooks and tests are among them."""
    worked, text = template(values, sets, release, options)
    assert worked, text
    return [one for one in yaml.safe_load_all(text) if one]


def inline_agreement(path):
    """Examples leave the agreement to --set-file."""
    text = path.read_text()
    return [path] if "existingConfigMap: convention" in text else [path, VALUES / "agreement-inline.yaml"]


def matrix():
    """Name -> values files of every combination that is rendered."""
    paths = sorted(EXAMPLES.glob("*.yaml")) + sorted(p for p in VALUES.glob("*.yaml") if p.stem != "agreement-inline")
    return {path.stem: inline_agreement(path) for path in paths}
