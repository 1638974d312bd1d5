"""NetworkPolicies become rules that admit what they say, and nothing else."""

import pytest

from knative.local.agent.policies import Cluster, Pod, pods_of, ruleset, selects

NAMESPACES = {"store": {"name": "store"}, "gate": {"name": "gate"}, "other": {"name": "other"}}
WRITER = Pod("store", {"app": "writer"}, "10.88.0.2")
INGEST = Pod("store", {"app": "ingest"}, "10.88.0.3")
GATE = Pod("gate", {"app": "gate"}, "10.88.0.4")
STRANGER = Pod("other", {"app": "writer"}, "10.88.0.5")
CLUSTER = Cluster([WRITER, INGEST, GATE, STRANGER], NAMESPACES)


def policy(namespace="store", **spec) -> dict:
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"], **spec}}


def rules(*policies: dict) -> list[str]:
    return [line for line in ruleset(policies, CLUSTER).splitlines() if line.startswith("add rule")]


def admitted(*policies: dict, way="ingress") -> list[str]:
    """The rules before the one that drops."""
    start = f"add rule inet policies {way} "
    return [line.removeprefix(start) for line in rules(*policies) if line.startswith(start) and " drop" not in line]


def jumps(*policies: dict) -> list[str]:
    return [line for line in rules(*policies) if " jump " in line]


def test_without_policies_nothing_is_looked_at():
    assert jumps() == []


def test_a_policy_without_rules_isolates_its_pods_and_admits_nothing():
    assert jumps(policy()) == [
        f"add rule inet policies {hook} ip daddr {{ 10.88.0.2, 10.88.0.3 }} jump ingress"
        for hook in ("forward", "input")
    ]
    assert admitted(policy()) == []


def test_what_no_rule_admits_is_dropped_last():
    ways = [line for line in rules(policy(ingress=[{}])) if "policies ingress" in line]
    assert "drop" not in ways[0]
    assert ways[-1].endswith("counter drop")


def test_answers_pass_before_anything_else():
    for hook in ("forward", "input"):
        first = next(line for line in rules(policy()) if f"policies {hook} " in line)
        assert first.endswith("ct state established,related return")


def test_a_rule_without_peers_admits_everybody():
    assert admitted(policy(podSelector={"matchLabels": {"app": "writer"}}, ingress=[{}])) == [
        "ip daddr { 10.88.0.2 } return"
    ]


def test_a_pod_selector_alone_means_the_policys_namespace():
    chosen = policy(
        podSelector={"matchLabels": {"app": "ingest"}},
        ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "writer"}}}]}],
    )
    assert admitted(chosen) == ["ip daddr { 10.88.0.3 } ip saddr { 10.88.0.2 } return"]


def test_both_selectors_of_a_peer_must_match():
    peer = {"namespaceSelector": {"matchLabels": {"name": "other"}}, "podSelector": {"matchLabels": {"app": "gate"}}}
    assert admitted(policy(ingress=[{"from": [peer]}])) == []


def test_peers_are_alternatives():
    peers = [
        {"podSelector": {"matchLabels": {"app": "ingest"}}},
        {"namespaceSelector": {"matchLabels": {"name": "gate"}}},
    ]
    chosen = policy(podSelector={"matchLabels": {"app": "writer"}}, ingress=[{"from": peers}])
    assert admitted(chosen) == ["ip daddr { 10.88.0.2 } ip saddr { 10.88.0.3, 10.88.0.4 } return"]


def test_peers_that_are_not_there_do_not_become_everybody():
    assert admitted(policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}])) == []


def test_ports_and_their_ranges():
    ports = [{"port": 8012}, {"port": 53, "protocol": "UDP"}, {"port": 1, "endPort": 9}, {"protocol": "UDP"}]
    chosen = policy(podSelector={"matchLabels": {"app": "writer"}}, ingress=[{"ports": ports}])
    assert [line.removeprefix("ip daddr { 10.88.0.2 } ") for line in admitted(chosen)] == [
        "tcp dport 8012 return",
        "udp dport 53 return",
        "tcp dport 1-9 return",
        "meta l4proto udp return",
    ]


def test_a_named_port_is_refused_and_not_ignored():
    with pytest.raises(ValueError, match="http"):
        rules(policy(ingress=[{"ports": [{"port": "http"}]}]))


def test_a_block_of_addresses_and_its_exceptions():
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}}
    chosen = policy(podSelector={"matchLabels": {"app": "writer"}}, policyTypes=["Egress"], egress=[{"to": [block]}])
    assert admitted(chosen, way="egress") == [
        "ip saddr { 10.88.0.2 } ip daddr 10.0.0.0/8 ip daddr != { 10.1.0.0/16, 10.2.0.0/16 } return"
    ]


def test_egress_isolates_the_sender():
    assert all("ip saddr" in line for line in jumps(policy(policyTypes=["Egress"])))


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ({"operator": "In", "values": ["writer", "ingest"]}, True),
        ({"operator": "In", "values": ["ingest"]}, False),
        ({"operator": "NotIn", "values": ["ingest"]}, True),
        ({"operator": "NotIn", "values": ["writer"]}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "DoesNotExist"}, False),
    ],
)
def test_label_expressions(expression, matches):
    selector = {"matchExpressions": [{"key": "app", **expression}]}
    assert selects(selector, {"app": "writer"}) is matches


def test_a_label_that_is_not_there():
    assert not selects({"matchExpressions": [{"key": "app", "operator": "In", "values": ["writer"]}]}, {})
    assert selects({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["writer"]}]}, {})


def test_pods_that_ended_or_have_the_nodes_address_are_left_out():
    def pod(phase="Running", **spec):
        return {"metadata": {"namespace": "store"}, "spec": spec, "status": {"phase": phase, "podIP": "10.88.0.9"}}

    assert pods_of([pod()]) == [Pod("store", {}, "10.88.0.9")]
    assert pods_of([pod("Succeeded"), pod(hostNetwork=True)]) == []
    assert pods_of([{**pod("Pending"), "status": {"phase": "Pending"}}]) == []
