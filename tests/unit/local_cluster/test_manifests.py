"""Knative's own manifests, as the local cluster takes them."""

import yaml

from knative.local.manifests import FEATURES, documents, images

BUILT = {"knative.dev/serving/cmd/activator": "dev.local/activator:1"}


def only(text: str) -> dict:
    (document,) = documents(text, BUILT)
    return document


def deployment(image: str) -> str:
    return f"""
kind: Deployment
metadata: {{name: activator, namespace: knative-serving}}
spec:
  template:
    spec:
      containers:
        - image: {image}
"""


def config(name: str) -> dict:
    return only(f"kind: ConfigMap\nmetadata: {{name: {name}, namespace: knative-serving}}\ndata: {{_example: kept}}")


def test_the_list_of_programs():
    assert images("# comment\n\nactivator knative.dev/serving/cmd/activator\n") == BUILT


def test_a_program_gets_its_image():
    (container,) = only(deployment("ko://knative.dev/serving/cmd/activator"))["spec"]["template"]["spec"]["containers"]
    assert container == {"image": "dev.local/activator:1"}


def test_a_program_that_is_not_built_is_named_so():
    (container,) = only(deployment("ko://knative.dev/other"))["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "dev.local/not-built:1"


def test_what_one_node_has_no_use_for_is_left_out():
    assert list(documents("kind: PodDisruptionBudget\n---\n---\nkind: HorizontalPodAutoscaler\n", BUILT)) == []


def test_the_ingress_class_is_set_and_the_rest_of_the_map_kept():
    assert config("config-network")["data"] == {
        "_example": "kept",
        "ingress-class": "local.ingress.networking.knative.dev",
    }
    assert config("config-gc")["data"] == {"_example": "kept"}


def test_the_features_are_those_that_an_administrator_patches_in():
    features = yaml.safe_load(FEATURES.read_text())["data"]
    assert features.items() <= config("config-features")["data"].items()
