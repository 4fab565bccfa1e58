#!/usr/bin/env python3
"""Validates deploy/kubernetes against Kubernetes's own schemas: the base, and what production makes of it.

Kustomize is in no registry that this is to run with, so this renders the few things that the overlay uses (resources, images,
patches by strategic merge), and refuses whatever else a kustomization says. Where there is a kubectl, its kustomize renders
too, and both have to be of one mind. What is rendered is also held against the promises that no schema knows.

    .ci/kubernetes.py [production]      with a folder's name, prints what it renders as JSON
"""
import copy
import json
import pathlib
import shutil
import subprocess
import sys
import tomllib

import kubernetes_validate
import yaml

FOLDER = pathlib.Path(__file__).parent.parent / "deploy/kubernetes"
# The oldest that is supported widely, and the newest that the validator knows.
VERSIONS = ["1.29", None]
# How Kubernetes merges lists: by a member's key. All other lists are replaced.
KEYED = {"containers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath", "ports": "containerPort"}


def merged(base, patch, key=None):
    if isinstance(base, dict) and isinstance(patch, dict):
        out = dict(base)
        for name, value in patch.items():
            out[name] = merged(base[name], value, name) if name in base else value
        return out
    if isinstance(base, list) and isinstance(patch, list) and key in ("containers", "volumes", "env", "volumeMounts"):
        by = KEYED[key]
        out = [copy.deepcopy(one) for one in base]
        for one in patch:
            at = next((at for at, old in enumerate(out) if old[by] == one[by]), None)
            if at is None:
                out.append(one)
            else:
                out[at] = merged(out[at], one)
        return out
    return patch


def name_of(document):
    return document["kind"], document["metadata"]["name"]


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def render(folder):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(kustomization) - {"apiVersion", "kind", "namespace", "resources", "images", "patches"}
    assert not unknown, f"{folder}: cannot render {unknown}"
    rendered = {}
    for resource in kustomization["resources"]:
        path = (folder / resource).resolve()
        found = render(path).values() if path.is_dir() else documents(path)
        for document in found:
            assert name_of(document) not in rendered, name_of(document)
            rendered[name_of(document)] = document
    listed = {folder / name for name in kustomization["resources"]} | {folder / patch["path"] for patch in kustomization.get("patches", [])}
    for path in folder.glob("*.yaml"):
        assert path in listed or path.name == "kustomization.yaml", f"{path} is in no kustomization"
    for patch in kustomization.get("patches", []):
        for document in documents(folder / patch["path"]):
            assert name_of(document) in rendered, f"{patch['path']} patches nothing"
            rendered[name_of(document)] = merged(rendered[name_of(document)], document)
    images = {image["name"]: image for image in kustomization.get("images", [])}
    for document in rendered.values():
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == kustomization["namespace"]
        for container in containers(document):
            if container["image"] in images:
                image = images[container["image"]]
                container["image"] = image["newName"] + (f"@{image['digest']}" if "digest" in image else f":{image['newTag']}")
    return rendered


def agrees_with_kustomize(rendered, folder):
    """What to say of the kustomize that is here, if one is."""
    if not shutil.which("kubectl"):
        return "no kubectl is here to render them, too"
    version = yaml.safe_load(subprocess.run(["kubectl", "version", "--client", "--output=yaml"], check=True, capture_output=True).stdout)
    text = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True).stdout
    kustomized = {name_of(document): document for document in yaml.safe_load_all(text)}
    assert kustomized.keys() == rendered.keys(), kustomized.keys() ^ rendered.keys()
    for name, document in kustomized.items():
        assert document == rendered[name], f"kustomize renders {name} otherwise:\n{document}\n{rendered[name]}"
    return f"kustomize {version['kustomizeVersion']} renders the same"


def pod_of(document):
    return document["spec"]["template"]["spec"] if document["kind"] in ("Deployment", "Job") else None


def containers(document):
    pod = pod_of(document)
    return pod["containers"] if pod else []


def seconds(text):
    return float(text.removesuffix("s"))


def promises(rendered):
    """What must agree between files."""
    deployment = rendered["Deployment", "confirmd"]
    config = tomllib.loads(rendered["ConfigMap", "confirmd"]["data"]["confirmd.toml"])
    pod = pod_of(deployment)
    grace, drain = pod["terminationGracePeriodSeconds"], seconds(config["server"]["drain_deadline"])
    assert drain + 5 <= grace, f"terminationGracePeriodSeconds {grace} is too near to drain_deadline {drain}"
    ports = {port["name"]: port["containerPort"] for port in containers(deployment)[0]["ports"]}
    assert config["server"]["listen"].endswith(f":{ports['http']}")
    assert config["server"]["operations_listen"].endswith(f":{ports['operations']}")
    mounts = [mount["mountPath"] for mount in containers(deployment)[0]["volumeMounts"]]
    for secret in [config["database"]["url_file"], *(account["auth_token_file"] for account in config["accounts"])]:
        assert any(secret.startswith(mount + "/") for mount in mounts), f"{secret} is mounted nowhere"
    selected = deployment["spec"]["template"]["metadata"]["labels"]
    for kind, selector in [
        ("Service", lambda spec: spec["selector"]),
        ("PodDisruptionBudget", lambda spec: spec["selector"]["matchLabels"]),
        ("NetworkPolicy", lambda spec: spec["podSelector"]["matchLabels"]),
    ]:
        labels = selector(rendered[kind, "confirmd"]["spec"])
        assert labels.items() <= selected.items(), f"{kind} selects nothing"
    for document in rendered.values():
        for container in containers(document):
            inside, around = container["securityContext"], pod_of(document)["securityContext"]
            assert inside == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            assert around["runAsNonRoot"] and around["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod_of(document)["automountServiceAccountToken"] is False
            assert "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"]
        assert document["kind"] != "Secret", "secrets are not in files of this repository"


def main():
    for folder in [FOLDER / "base", FOLDER / "production"]:
        rendered = render(folder)
        for version in VERSIONS:
            for document in rendered.values():
                kubernetes_validate.validate(document, version or kubernetes_validate.latest_version(), strict=True)
        promises(rendered)
        same = agrees_with_kustomize(rendered, folder)
        print(f"{folder.name}: {len(rendered)} documents are as Kubernetes wants them, and agree with each other; {same}", file=sys.stderr)
        if folder.name in sys.argv:
            json.dump(list(rendered.values()), sys.stdout)


main()
