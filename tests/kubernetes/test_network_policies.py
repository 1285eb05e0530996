"""The network policies of large/ allow the connections that are needed, and no others."""

from typing import Any

import pytest

from tests.kubernetes.manifests import Manifest, literals, manifests, named

POLICIES = named("NetworkPolicy", manifests("large"))
PODS = ("checkout", "payment", "web", "agent", "gateway")
WRITE = literals("base", "large")["backends-write"]
READ = literals("base", "large")["backends-read"]
BACKENDS = "backends"
OUTSIDE = "outside"
"""A pod of any other namespace."""

NEEDED = {
    (OUTSIDE, "checkout", 8000),
    ("web", "checkout", 8000),
    ("web", "payment", 8001),
    ("web", "agent", 13133),
    ("checkout", "payment", 8001),
    ("checkout", "agent", 4318),
    ("payment", "agent", 4318),
    ("agent", "gateway", 4317),
    (BACKENDS, "web", 8080),
    ("agent", BACKENDS, int(WRITE["PROMETHEUS_PORT"])),
    *(("gateway", BACKENDS, int(WRITE[name])) for name in WRITE if name.endswith("_PORT")),
    *(("web", BACKENDS, int(READ[name])) for name in READ if name.endswith("_PORT")),
}
PORTS = {port for _, _, port in NEEDED} | {4317, 4318, 13133, 8888}


def namespace_of(pod: str) -> str:
    """Return the namespace in which ``pod`` is."""
    return pod if pod in {BACKENDS, OUTSIDE} else "three-pillar-demo"


def selects(peer: Manifest, pod: str) -> bool:
    """Return whether ``peer`` of a rule is ``pod``."""
    if "namespaceSelector" in peer:
        wanted = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        return bool(wanted == namespace_of(pod))
    return namespace_of(pod) == "three-pillar-demo" and matches(peer["podSelector"], pod)


def matches(selector: Manifest, pod: str) -> bool:
    """Return whether the selector of pods selects ``pod``."""
    return bool(selector.get("matchLabels", {"app.kubernetes.io/name": pod}) == name_label(pod))


def name_label(pod: str) -> dict[str, str]:
    """Return the labels of ``pod``."""
    return {"app.kubernetes.io/name": pod}


def is_allowed(direction: str, pod: str, other: str, port: int) -> bool:
    """Return whether the policies of ``pod`` allow a connection to or from ``other``.

    ``direction`` is ``Ingress`` or ``Egress``.
    """
    side = {"Ingress": "from", "Egress": "to"}[direction]
    rules: list[dict[str, Any]] = [
        rule
        for policy in POLICIES.values()
        if matches(policy["spec"]["podSelector"], pod)
        for rule in policy["spec"].get(direction.lower(), [])
    ]
    return any(
        port in {entry["port"] for entry in rule["ports"]}
        and (side not in rule or any(selects(peer, other) for peer in rule[side]))
        for rule in rules
    )


def can_connect(source: str, target: str, port: int) -> bool:
    """Return whether ``source`` can connect to ``port`` of ``target``."""
    leaves = source not in PODS or is_allowed("Egress", source, target, port)
    enters = target not in PODS or is_allowed("Ingress", target, source, port)
    return leaves and enters


def test_everything_is_denied_first() -> None:
    """A policy that selects all pods of the namespace denies both directions."""
    assert POLICIES["deny-all"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }


@pytest.mark.parametrize(("source", "target", "port"), sorted(NEEDED))
def test_needed_connections_are_allowed(source: str, target: str, port: int) -> None:
    """A connection that the configuration needs is allowed at both of its ends."""
    assert can_connect(source, target, port)


def test_all_other_connections_are_refused() -> None:
    """No pod can connect to another one, or to the backends, in a way that is not needed."""
    pods = (*PODS, BACKENDS, OUTSIDE)
    allowed = {
        (source, target, port)
        for source in pods
        for target in pods
        for port in PORTS
        if source in PODS or target in PODS
        if can_connect(source, target, port)
    }
    # The shop sells to everybody.
    harmless = {(BACKENDS, "checkout", 8000)}
    assert allowed - NEEDED - harmless == set()


def test_names_are_resolved() -> None:
    """Every pod may ask the DNS of the cluster."""
    (rule,) = POLICIES["dns"]["spec"]["egress"]
    assert POLICIES["dns"]["spec"]["podSelector"] == {}
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {
        ("UDP", 53),
        ("TCP", 53),
    }


def test_backends_are_in_the_namespace_of_the_policies() -> None:
    """The hosts of the backends are in the namespace to which the policies allow connections."""
    hosts = {pairs[name] for pairs in (WRITE, READ) for name in pairs if name.endswith("_HOST")}
    assert {host.split(".", 1)[1] for host in hosts} == {f"{BACKENDS}.svc"}


def test_backends_take_connections_of_the_shop_and_of_each_other_only() -> None:
    """Backends without a login are reached by themselves and, on the needed ports, by the shop."""
    (policy,) = named("NetworkPolicy", manifests(BACKENDS)).values()
    assert policy["spec"]["podSelector"] == {}
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    themselves, shop = policy["spec"]["ingress"]
    assert themselves == {"from": [{"podSelector": {}}]}
    (peer,) = shop["from"]
    assert peer == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "three-pillar-demo"}}
    }
    ports = {entry["port"] for entry in shop["ports"]}
    assert ports == {port for _, target, port in NEEDED if target == BACKENDS}
