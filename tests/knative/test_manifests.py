"""The manifests: complete, known to the schemas of their makers in every field, and meant as they are written."""

from __future__ import annotations

import copy
import hashlib
import ipaddress
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from functions.archiver import main as archiver
from functions.cleanall import main as cleanall
from functions.datasets import main as datasets
from functions.files import main as files
from functions.freeze import main as freeze
from functions.glitchflow import main as glitchflow
from functions.ingest import main as ingest
from functions.logdump import main as logdump
from functions.logic import main as logic
from functions.preproc import main as preproc
from functions.stats import main as stats
from functions.strain import main as strain
from shared import events
from shared.auth import issue_token
from shared.auth.tokens import read_tokens
from shared.config import (
    auth_from_env,
    glitchflow_from_env,
    logic_from_env,
    policy_from_env,
    store_from_env,
    strain_from_env,
)
from shared.storage.reader import BatchReader
from tests.support import ROOT, manifests
from tests.support.manifests import KNATIVE, OVERLAYS

ABSENT: Any = None  # handlers are made, never called: what they would ask is not there
COMMITTER: Any = SimpleNamespace(slice_size=1)
ROUTES = {
    "ingest": ingest.routes(COMMITTER),
    "stats": stats.routes(ABSENT),
    "files": files.routes(ABSENT),
    "logdump": logdump.routes(ABSENT),
    "freeze": freeze.routes(ABSENT),
    "cleanall": cleanall.routes(ABSENT),
    "logic": logic.routes(ABSENT, ABSENT),
    "glitchflow": glitchflow.routes(ABSENT, "/"),
    "preproc": preproc.routes(ABSENT),
    "datasets": datasets.routes(ABSENT),
    "archiver": archiver.routes(ABSENT),
    "strain": strain.routes(BatchReader(store_from_env({})), 1, strain_from_env({})),
}


@pytest.fixture(params=OVERLAYS)
def overlay(request) -> str:
    return request.param


def of_kind(objects: list[dict], kind: str) -> dict[str, dict]:
    return {o["metadata"]["name"]: o for o in objects if o["kind"] == kind}


def container(service: dict) -> dict:
    [only] = service["spec"]["template"]["spec"]["containers"]
    return only


def env(service: dict) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(service)["env"]}


def claims(service: dict) -> dict[str, bool]:
    """Claim -> whether its mount is read-only. Its volume never is: see knative/common/claims.yaml."""
    mounts = {mount["name"]: mount for mount in container(service)["volumeMounts"]}
    found = {}
    for volume in service["spec"]["template"]["spec"]["volumes"]:
        if claim := volume.get("persistentVolumeClaim"):
            mount = mounts[volume["name"]]
            assert "readOnly" not in claim
            assert mount["mountPath"] == f"/store/{claim['claimName']}"
            found[claim["claimName"]] = mount.get("readOnly", False)
    return found


# -- schemas --------------------------------------------------------------------------------------------------------


def test_every_field_of_every_object_is_known_to_its_schema(overlay):
    checked = 0
    for object in manifests.objects(overlay):
        try:
            assert manifests.complaints(object) == [], f"{object['kind']} {object['metadata']['name']}"
        except LookupError as missing:
            pytest.skip(str(missing))
        checked += 1
    assert checked >= 6


def spots(value, path=()):
    """Every key of an object, except where keys are free: labels, annotations, an event's attributes, resources."""
    if isinstance(value, dict):
        for key, part in value.items():
            if path and path[-1] in ("labels", "annotations", "matchLabels", "exact", "requests", "limits", "hard"):
                continue
            yield (*path, key)
            yield from spots(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from spots(part, (*path, number))


def misspelt(object: dict, spot: tuple) -> dict:
    object = copy.deepcopy(object)
    at = object
    for step in spot[:-1]:
        at = at[step]
    at[spot[-1] + "x"] = at.pop(spot[-1])
    return object


# What a CRD leaves open is checked by Kubernetes or Knative itself; tests/knative runs Knative's own checks on it.
OPEN = re.compile(r"spec/template/spec/(securityContext|volumes/\d+/(emptyDir|persistentVolumeClaim))/|^spec/job/")


def test_a_misspelt_field_is_found_wherever_it_is():
    kinds = {object["kind"]: object for object in manifests.objects("prod-oidc")}  # one of each
    for kind, object in kinds.items():
        for spot in spots(object):
            where = "/".join(map(str, spot))
            if where in ("apiVersion", "kind") or OPEN.search(where):
                continue
            try:
                assert manifests.complaints(misspelt(object, spot)), f"{kind}: {where}"
            except LookupError as missing:
                pytest.skip(str(missing))
    assert {"Service", "Trigger", "Broker", "NetworkPolicy", "PersistentVolumeClaim"} <= set(kinds)


def test_the_dead_letter_job_is_one_that_kubernetes_knows():
    sink = of_kind(manifests.objects("dev"), "JobSink")["deadletter"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "deadletter"}, **sink["spec"]["job"]}
    assert manifests.complaints(job) == []
    job["spec"]["template"]["spec"]["containers"][0]["comand"] = []
    assert manifests.complaints(job)


# -- what there is --------------------------------------------------------------------------------------------------


def test_every_function_has_a_manifest_and_a_descriptor():
    described = {path.parent.name for path in (KNATIVE / "func").glob("*/func.yaml")} | {"datastore"}
    deployed = set(manifests.functions("dev")) | set(manifests.functions("embedded"))
    for source in ROOT.glob("functions/*/main.py"):
        assert source.parent.name in deployed
        assert source.parent.name in described


def test_every_service_is_the_function_of_its_name(overlay):
    for name, service in manifests.functions(overlay).items():
        assert env(service)["FUNCTION_TARGET"] == name


def test_pods_run_without_privileges_and_are_probed_and_scraped(overlay):
    for service in manifests.functions(overlay).values():
        template = service["spec"]["template"]
        rights = container(service)["securityContext"]
        assert rights["runAsNonRoot"]
        assert rights["readOnlyRootFilesystem"]
        assert not rights["allowPrivilegeEscalation"]
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container(service)["readinessProbe"]["httpGet"]["path"] == "/health/readiness"
        assert container(service)["livenessProbe"]["httpGet"]["path"] == "/health/liveness"
        assert template["metadata"]["annotations"]["prometheus.io/path"] == "/metrics"
        assert {"cpu", "memory"} == set(container(service)["resources"]["limits"])
        assert template["spec"]["timeoutSeconds"] >= 30  # a drain needs this long, and the server's grace


def test_the_user_of_the_pods_is_the_users_of_the_image(overlay):
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert user
    for service in manifests.functions(overlay).values():
        rights = container(service)["securityContext"]
        assert (rights["runAsUser"], rights["runAsGroup"]) == tuple(map(int, user.groups()))
        assert service["spec"]["template"]["spec"]["securityContext"]["fsGroup"] == rights["runAsGroup"]


# -- what it means --------------------------------------------------------------------------------------------------


def test_there_is_one_writer_with_one_request_at_a_time_seen_from_within_only():
    writer = manifests.functions("prod")["writer"]
    scale = writer["spec"]["template"]["metadata"]["annotations"]
    assert scale["autoscaling.knative.dev/min-scale"] == scale["autoscaling.knative.dev/max-scale"] == "1"
    assert writer["spec"]["template"]["spec"]["containerConcurrency"] == 1
    assert writer["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"


def test_all_who_ask_the_writer_find_room_in_the_queue_before_it():
    services = manifests.functions("prod")
    limit = services["writer"]["spec"]["template"]["spec"]["containerConcurrency"]
    at_once = 1  # the ping
    for service in services.values():
        if "WRITER_URL" in env(service):
            template = service["spec"]["template"]
            pods = int(template["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"])
            at_once += pods  # one group at a time, one freeze or cleanall at a time, however many requests they take
    assert at_once <= limit + 10 * limit


def test_claims_are_mounted_where_the_functions_look_and_for_writing_only_where_they_write():
    paths = store_from_env({"ROOT": "/store"})
    assert paths.adm_root.startswith("/store/appdata/")
    assert paths.log_root.startswith("/store/appdata/")
    assert paths.volume_root == "/store/datavar"
    services = {**manifests.functions("prod"), **manifests.functions("embedded")}
    assert {name: claims(service) for name, service in services.items()} == {
        "writer": {"appdata": False, "datavar": False},
        "datastore": {"appdata": False, "datavar": False},
        "ingest": {"datavar": False},
        "stats": {"appdata": True},
        "files": {"appdata": True, "datavar": True},
        "logdump": {"appdata": True, "datavar": True},
        "preproc": {"appdata": False, "datavar": False},
        "datasets": {"appdata": False, "datavar": False},
        "strain": {"appdata": True, "datavar": False},
        "archiver": {"appdata": True, "datavar": False},
        "freeze": {},
        "cleanall": {},
        "logic": {},
        "glitchflow": {},
    }


def test_the_job_that_mends_volumes_gives_their_folders_to_the_pods_user_and_nothing_else(tmp_path):
    [job] = yaml.safe_load_all((KNATIVE / "cluster" / "volumes.yaml").read_text())
    assert manifests.complaints(job) == []
    [only] = job["spec"]["template"]["spec"]["containers"]
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN", "FOWNER"]}
    if os.geteuid() != 0 or "4294967295" not in Path("/proc/self/uid_map").read_text():
        pytest.skip("needs root outside a user namespace, who may give folders away")
    appdata, datavar = tmp_path / "appdata", tmp_path / "datavar"
    appdata.mkdir(mode=0o755)
    datavar.mkdir()
    os.chown(datavar, 0, 65532)
    datavar.chmod(0o2775)
    (appdata / "kept").touch()
    script = only["command"][-1].replace("/store", str(tmp_path))
    for said in (
        ("was 0:0 755, is 65532:65532 775", "was 0:65532 2775, is 65532:65532 2775"),
        ("user 65532 may write",) * 2,
    ):
        result = subprocess.run([*only["command"][:-1], script], capture_output=True, text=True, check=True)
        assert result.stdout == f"{appdata}: {said[0]}\n{datavar}: {said[1]}\n"
    assert (appdata / "kept").stat().st_uid == 0


def secrets(service: dict) -> dict[str, str]:
    """Secret -> where it is mounted."""
    mounts = {mount["name"]: mount for mount in container(service)["volumeMounts"]}
    return {v["secret"]["secretName"]: mounts[v["name"]]["mountPath"]
            for v in service["spec"]["template"]["spec"]["volumes"] if "secret" in v}  # fmt: skip


def test_authentication_is_on_and_only_those_who_ask_others_hold_a_token(overlay):
    askers = {"ingest", "freeze", "cleanall", "logic", "glitchflow"}
    for name, service in manifests.functions(overlay).items():
        mounted = secrets(service)
        assert set(mounted) == {"datastore-tokens"} | ({f"datastore-service-{name}"} if name in askers else set())
        assert env(service)["AUTH_TOKENS"] == mounted["datastore-tokens"] + "/tokens"
        assert auth_from_env(env(service)).enabled
        if name in askers:
            assert env(service)["AUTH_SERVICE_TOKEN"] == mounted[f"datastore-service-{name}"] + "/token"


def test_deliveries_of_the_broker_are_known_where_eventing_authenticates():
    services, objects = manifests.functions("prod-oidc"), manifests.objects("prod-oidc")
    for trigger in of_kind(objects, "Trigger").values():
        subscriber = trigger["spec"]["subscriber"]
        if subscriber["ref"]["name"] in ("preproc", "datasets"):
            continue  # may be told by anyone
        trust = auth_from_env(env(services[subscriber["ref"]["name"]]))
        assert trust.events
        assert trust.events.audiences == (subscriber["audience"],)
        name = f"{trigger['metadata']['name']}-oidc-eventing.knative.dev-trigger"  # as Eventing names them
        assert trust.event_subjects == (f"system:serviceaccount:datastore:{name}",)
    assert all(auth_from_env(env(service)).events is None for service in manifests.functions("prod").values())


def test_event_policies_admit_senders_by_name_only():
    objects = manifests.objects("prod-oidc")
    policies = of_kind(objects, "EventPolicy").values()
    senders = [sender for policy in policies for sender in policy["spec"]["from"]]
    assert not [sender for sender in senders if "*" in sender.get("sub", "")]
    for sender in senders:
        if "ref" in sender:
            # A trigger's identity is made when its broker is ready, and a broker waits for its policies.
            assert sender["ref"]["kind"] != "Trigger"
            assert sender["ref"]["name"] in of_kind(objects, sender["ref"]["kind"])
            continue
        account = sender["sub"].removeprefix("system:serviceaccount:datastore:")
        trigger, of_trigger, _ = account.partition("-oidc-eventing.knative.dev-trigger")
        assert trigger in of_kind(objects, "Trigger" if of_trigger else "ServiceAccount")
    guarded = {to["ref"]["kind"] for policy in policies for to in policy["spec"]["to"]}
    assert guarded == {"Broker", "JobSink"}


def test_dead_letters_are_looked_for_under_the_label_that_eventing_sets():
    command = "kubectl get jobs -l sinks.knative.dev/job-sink-name=deadletter"  # eventing/pkg/apis/sinks/constants.go
    for path in (KNATIVE / "base" / "deadletter.yaml", ROOT / "docs" / "operations.md"):
        assert path.read_text().count("job-sink") == path.read_text().count(command) == 1
    assert "deadletter" in of_kind(manifests.objects("dev"), "JobSink")


def test_dead_letters_are_bounded():
    [quota] = of_kind(manifests.objects("prod"), "ResourceQuota").values()
    assert 0 < int(quota["spec"]["hard"]["count/jobs.batch"]) <= 1000
    job = of_kind(manifests.objects("prod"), "JobSink")["deadletter"]["spec"]["job"]["spec"]
    assert job["activeDeadlineSeconds"] > 0


# -- the network ----------------------------------------------------------------------------------------------------


def selected(selector: dict, labels: dict[str, str]) -> bool:
    """Whether a label selector of Kubernetes selects these labels."""
    known = {
        "Exists": lambda key, values: key in labels,
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
    }
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        known[rule["operator"]](rule["key"], rule.get("values")) for rule in selector.get("matchExpressions", [])
    )


def may_reach(objects: list[dict], function: str, peer: str, port: int, protocol="TCP") -> bool:
    """Whether the policies let a function's pod open a connection to an address, or to pods of a namespace."""

    def is_peer(to: dict) -> bool:
        if block := to.get("ipBlock"):
            if not re.fullmatch(r"[\d.]+", peer):
                return False
            address = ipaddress.ip_address(peer)
            inside = address in ipaddress.ip_network(block["cidr"])
            return inside and not any(address in ipaddress.ip_network(part) for part in block.get("except", []))
        return selected(to["namespaceSelector"], {"kubernetes.io/metadata.name": peer})

    applied = [p["spec"] for p in of_kind(objects, "NetworkPolicy").values()
               if "Egress" in p["spec"]["policyTypes"]
               and selected(p["spec"]["podSelector"], {"serving.knative.dev/service": function})]  # fmt: skip
    return not applied or any(
        any(map(is_peer, rule["to"]))
        and any((p["port"], p.get("protocol", "TCP")) == (port, protocol) for p in rule.get("ports", [{"port": port}]))
        for policy in applied
        for rule in policy.get("egress", [])
    )


ISSUER = "198.51.100.7"  # anywhere outside


def with_component(folder, overlay: str, component: str) -> list[dict]:
    """The objects of an overlay with a component added."""
    shutil.copytree(KNATIVE, folder / "knative")
    path = folder / "knative" / "overlays" / overlay / "kustomization.yaml"
    text = path.read_text()
    components = f"components:\n  - ../../components/{component}\n"
    path.write_text(text.replace("components:\n", components) if "\ncomponents:\n" in text else text + components)
    return list(yaml.safe_load_all(manifests.text(overlay, folder / "knative" / "overlays")))


@pytest.fixture(params=["prod", "embedded"])
def with_issuer(request, tmp_path) -> list[dict]:
    return with_component(tmp_path, request.param, "issuer")


@pytest.mark.parametrize("overlay", ["prod", "embedded"])
def test_those_that_copy_archives_or_read_copies_reach_the_place_and_nobody_else(overlay, tmp_path):
    objects = with_component(tmp_path, overlay, "archives")
    of_archives = {"archiver", "files", "strain", "preproc", "datasets", "datastore"}
    accounts = of_kind(objects, "ServiceAccount")
    assert accounts["archiver"]["automountServiceAccountToken"] is False
    for name, service in ((o["metadata"]["name"], o) for o in objects if o["apiVersion"].startswith("serving.")):
        settings = store_from_env({**env(service), "ROOT": "/store"})
        assert bool(settings.archive_url) == (name in of_archives)
        assert may_reach(objects, name, ISSUER, 443) == (name in of_archives)
        assert not may_reach(objects, name, "10.0.0.1", 443)
        if name in of_archives:
            assert settings.archive_options == secrets(service)["datastore-archives"] + "/options.json"
            assert may_reach(objects, name, "kube-system", 53, "UDP")
        spec = service["spec"]["template"]["spec"]
        copies = name in ("archiver", "datastore")
        assert spec.get("serviceAccountName") == ("archiver" if copies else None)
        assert bool(settings.archive_keep) == copies
        if copies:
            annotations = service["spec"]["template"]["metadata"]["annotations"]
            assert annotations["autoscaling.knative.dev/min-scale"] == "1"
    for object in objects:
        try:
            assert manifests.complaints(object) == []
        except LookupError as missing:
            pytest.skip(str(missing))


def test_functions_that_trust_an_issuer_reach_its_keys(with_issuer):
    for name, service in ((o["metadata"]["name"], o) for o in with_issuer if o["apiVersion"].startswith("serving.")):
        trust = auth_from_env(env(service))
        reaches = may_reach(with_issuer, name, ISSUER, 443)
        assert reaches == (trust.users is not None) == (name != "writer")
        if trust.users:
            assert trust.users.jwks.startswith("https://")
            assert may_reach(with_issuer, name, "kube-system", 53, "UDP")
        assert not may_reach(with_issuer, name, ISSUER, 80)
        assert not may_reach(with_issuer, name, "10.0.0.1", 443)
    for object in with_issuer:
        try:
            assert manifests.complaints(object) == []
        except LookupError as missing:
            pytest.skip(str(missing))


def test_without_an_issuer_no_function_reaches_the_outside(overlay):
    objects = manifests.objects(overlay)
    for name in manifests.functions(overlay):
        assert not may_reach(objects, name, ISSUER, 443)
        assert may_reach(objects, name, "kourier-system", 80) == (
            name in {"ingest", "freeze", "cleanall", "logic", "glitchflow", "writer"}
        )


def test_the_secrets_that_are_made_are_those_that_are_mounted(capsys):
    assert issue_token.main(["--secret"]) == 0
    printed = capsys.readouterr()
    made = {o["metadata"]["name"]: o["stringData"] for o in yaml.safe_load_all(printed.out)}
    mounted = {secret for service in manifests.functions("prod").values() for secret in secrets(service)}
    assert set(made) == mounted
    callers = {caller.name: (digest, caller) for digest, caller in read_tokens(made["datastore-tokens"]["tokens"])}
    assert callers["operator"][0] == hashlib.sha256(printed.err.split()[-1].encode()).digest()
    assert callers["operator"][1].scopes == {"read", "write", "operate"}
    for name in callers.keys() - {"operator"}:
        assert set(made[f"datastore-service-{name}"]) == {"token"}
        assert callers[name][0] == hashlib.sha256(made[f"datastore-service-{name}"]["token"].encode()).digest()
        assert callers[name][1].scopes == set(issue_token.SCOPES_OF_FUNCTIONS[name].split(","))


def test_claims_of_one_node_in_dev_and_of_many_in_prod():
    modes = {o: {c["spec"]["accessModes"][0] for c in of_kind(manifests.objects(o), "PersistentVolumeClaim").values()}
             for o in OVERLAYS}  # fmt: skip
    assert modes["dev"] == {"ReadWriteOnce"}
    assert modes["prod"] == {"ReadWriteMany"}


def test_each_request_and_fact_goes_to_the_function_that_takes_it():
    objects = manifests.objects("prod")
    goes: dict[str, set[str]] = {}
    for trigger in of_kind(objects, "Trigger").values():
        assert trigger["spec"]["broker"] in of_kind(objects, "Broker")
        assert trigger["spec"]["subscriber"]["ref"]["name"] in manifests.functions("prod")
        type = trigger["spec"]["filters"][0]["exact"]["type"]
        goes.setdefault(type, set()).add(trigger["spec"]["subscriber"]["ref"]["name"])
        delivery = trigger["spec"]["delivery"]
        assert delivery["retry"] > 0
        assert delivery["backoffPolicy"] == "exponential"
        assert delivery["deadLetterSink"]["ref"]["name"] in of_kind(objects, "JobSink")
    assert goes == {
        events.SEGMENT: {"ingest"},
        events.FREEZE: {"freeze"},
        events.CLEANALL: {"cleanall"},
        events.FROZEN: {"preproc", "datasets"},
    }


def test_the_writer_is_bound_to_the_broker_and_pinged():
    objects = manifests.objects("prod")
    [binding] = of_kind(objects, "SinkBinding").values()
    assert binding["spec"]["subject"]["name"] == "writer"
    assert binding["spec"]["sink"]["ref"]["name"] in of_kind(objects, "Broker")
    [ping] = of_kind(objects, "PingSource").values()
    assert ping["spec"]["sink"]["ref"]["name"] == "writer"
    assert ping["spec"]["sink"]["uri"] == "/ping"
    assert ping["spec"]["schedule"] == "* * * * *"


def test_one_host_serves_every_path_by_the_function_that_has_it():
    [route] = of_kind(manifests.objects("prod"), "HTTPRoute").values()
    exact: dict[tuple[str, str], str] = {}
    below: dict[tuple[str, str], str] = {}
    for rule in route["spec"]["rules"]:
        [rewrite] = [f["urlRewrite"]["hostname"] for f in rule["filters"]]
        for match in rule["matches"]:
            served = exact if match["path"]["type"] == "Exact" else below
            served[match["method"], match["path"]["value"]] = rewrite.partition(".")[0]

    def leads_to(method: str, path: str) -> str | None:
        prefixes = [p for m, p in below if m == method and (path == p or path.startswith(f"{p}/"))]
        return exact.get((method, path)) or (below[method, max(prefixes, key=len)] if prefixes else None)

    public = set(manifests.functions("prod")) - {"writer"}
    assert set(exact.values()) | set(below.values()) == public
    for name in public:
        for method, path in ROUTES[name]:
            if path != "/" or name == "logic":  # each function's own `/` is for its own host
                assert leads_to(method, path) == name, path


def test_hosts_follow_the_namespace_of_the_overlay(tmp_path):
    shutil.copytree(KNATIVE, tmp_path / "knative")
    path = tmp_path / "knative" / "overlays" / "prod-oidc" / "kustomization.yaml"
    path.write_text(path.read_text().replace("namespace: datastore", "namespace: elsewhere"))
    moved = manifests.text("prod-oidc", tmp_path / "knative" / "overlays")
    assert not re.search(r"\bdatastore\.svc|:datastore:|namespace: datastore", moved)
    assert "http://writer.elsewhere.svc.cluster.local" in moved


def test_hosts_are_those_of_functions_and_paths_those_they_serve():
    services = manifests.functions("prod")
    logic_env, glitchflow_env = env(services["logic"]), env(services["glitchflow"])
    upstreams = logic_from_env(logic_env), glitchflow_from_env(glitchflow_env)
    urls = [upstream.url(name) for upstream in upstreams for name in upstream.endpoints]
    for url in [*urls, upstreams[0].products]:
        parts = re.fullmatch(r"http://(\w+)\.datastore\.svc\.cluster\.local(/\w+)", url)
        assert parts, url
        name, path = parts.groups()
        assert any(served == path for _, served in ROUTES[name]), url


def test_writer_and_logic_agree_when_a_batch_may_freeze():
    services = manifests.functions("prod")
    assert policy_from_env(env(services["writer"])) == policy_from_env(env(services["logic"]))


def test_the_configuration_takes_what_the_manifests_set():
    for service in [*manifests.functions("prod").values(), *manifests.functions("embedded").values()]:
        settings = store_from_env({**env(service), "ROOT": "/store", "SERVURL": ":8080", "PORT": "8080"})
        assert (settings.host, settings.port) == ("0.0.0.0", 8080)


def test_feature_flags_are_those_the_pods_use():
    flags = yaml.safe_load((KNATIVE / "cluster" / "config-features.patch.yaml").read_text())["data"]
    assert set(flags) == {
        "kubernetes.podspec-persistent-volume-claim",
        "kubernetes.podspec-persistent-volume-write",
        "kubernetes.podspec-securitycontext",
    }
    assert set(flags.values()) == {"enabled"}
