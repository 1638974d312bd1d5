"""NetworkPolicies as rules of nftables. Pure: objects in, text out.

A pod that some policy selects takes, or sends, only what a rule of such a policy admits; answers always pass. What is
dropped is kept for an hour in the set `dropped`: source, destination, protocol, port.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
WAYS = {"Ingress": ("daddr", "saddr", "from"), "Egress": ("saddr", "daddr", "to")}
# The chains are emptied and filled in one transaction; the set stays.
TABLE = (
    "add table inet policies\n"
    "add set inet policies dropped { type ipv4_addr . ipv4_addr . inet_proto . inet_service; "
    "flags dynamic, timeout; timeout 1h; size 4096; }\n"
)
DROP = "add @dropped { ip saddr . ip daddr . meta l4proto . th dport } counter drop"


@dataclass(frozen=True)
class Pod:
    """A pod with an address of its own."""

    namespace: str
    labels: dict[str, str]
    address: str


def pods_of(objects: Iterable[Object]) -> list[Pod]:
    """The pods that run, or are about to. Those in the node's own network cannot be told from it, and are left out."""
    return [
        Pod(pod["metadata"]["namespace"], pod["metadata"].get("labels", {}), pod["status"]["podIP"])
        for pod in objects
        if pod["status"].get("podIP")
        and pod["status"].get("phase") in ("Pending", "Running")
        and not pod["spec"].get("hostNetwork")
    ]


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """True if a label selector matches. An empty one matches everything."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_meets(wanted, labels) for wanted in selector.get("matchExpressions", []))


def _meets(wanted: Object, labels: dict[str, str]) -> bool:
    key, values = wanted["key"], wanted.get("values", [])
    held = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return held[wanted["operator"]]


@dataclass(frozen=True)
class Cluster:
    """What policies select from: the pods, and the labels of each namespace."""

    pods: list[Pod]
    namespaces: dict[str, dict[str, str]]

    def addresses(self, namespaces: Container[str], selector: Object) -> set[str]:
        """Of the pods in some namespaces that a label selector matches."""
        return {pod.address for pod in self.pods if pod.namespace in namespaces and selects(selector, pod.labels)}

    def peer(self, peer: Object, own: str) -> set[str]:
        """The addresses of the pods that a peer of a policy in the namespace `own` means."""
        spaces = {own}
        if "namespaceSelector" in peer:
            chosen = peer["namespaceSelector"]
            spaces = {name for name, labels in self.namespaces.items() if selects(chosen, labels)}
        return self.addresses(spaces, peer.get("podSelector", {}))


def ruleset(policies: Iterable[Object], cluster: Cluster) -> str:
    """The input of `nft -f`, for all policies.

    Raises:
        ValueError: a policy uses a port's name, which is not supported.
    """
    isolated: dict[str, set[str]] = {way: set() for way in WAYS}
    rules: dict[str, list[str]] = {way: [] for way in WAYS}
    for policy in policies:
        spec, own = policy["spec"], policy["metadata"]["namespace"]
        if not (chosen := cluster.addresses({own}, spec.get("podSelector", {}))):
            continue
        for way in spec["policyTypes"]:
            isolated[way] |= chosen
            for rule in spec.get(way.lower()) or []:
                rules[way] += _rules(way, chosen, rule, own, cluster)
    return TABLE + "".join(f"{line}\n" for line in _chains(isolated, rules))


def _rules(way: str, chosen: set[str], rule: Object, own: str, cluster: Cluster) -> Iterator[str]:
    here, there, key = WAYS[way]
    for peers in _peers(rule.get(key), there, own, cluster):
        for port in rule.get("ports") or [{}]:
            yield f"ip {here} {_set(chosen)}{peers}{_port(port)} return"


def _peers(peers: list[Object] | None, there: str, own: str, cluster: Cluster) -> Iterator[str]:
    """A match for each block of addresses, and one for all pods. No list of peers means anybody."""
    if not peers:
        yield ""
        return
    found: set[str] = set()
    for peer in peers:
        if block := peer.get("ipBlock"):
            but = f" ip {there} != {_set(block['except'])}" if block.get("except") else ""
            yield f" ip {there} {block['cidr']}{but}"
        else:
            found |= cluster.peer(peer, own)
    if found:
        yield f" ip {there} {_set(found)}"


def _port(port: Object) -> str:
    protocol, number = port.get("protocol", "TCP").lower(), port.get("port")
    if not port:
        return ""
    if number is None:
        return f" meta l4proto {protocol}"
    if not isinstance(number, int):
        raise ValueError(f"the port {number!r} of a network policy must be a number here")
    return f" {protocol} dport {number}" + (f"-{port['endPort']}" if "endPort" in port else "")


def _set(addresses: Iterable[str]) -> str:
    return "{ " + ", ".join(sorted(addresses)) + " }"


def _chains(isolated: dict[str, set[str]], rules: dict[str, list[str]]) -> Iterator[str]:
    hooks = ("forward", "input")
    for way in WAYS:
        yield f"add chain inet policies {way.lower()}"
    for hook in hooks:
        yield f"add chain inet policies {hook} {{ type filter hook {hook} priority 10; }}"
    for name in (*map(str.lower, WAYS), *hooks):
        yield f"flush chain inet policies {name}"
    for way in WAYS:
        for rule in (*rules[way], DROP):
            yield f"add rule inet policies {way.lower()} {rule}"
    for hook in hooks:
        yield f"add rule inet policies {hook} ct state established,related return"
        for way, (here, _, _) in WAYS.items():
            if isolated[way]:
                yield f"add rule inet policies {hook} ip {here} {_set(isolated[way])} jump {way.lower()}"
