"""The scripts of the local cluster, as far as they can be tried without one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from knative.local.agent.policies import Cluster, Pod, ruleset
from tests.support import ROOT

LOCAL = ROOT / "knative" / "local"
SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in LOCAL.glob("*.sh"))
COREUTILS = (
    "awk",
    "bash",
    "cksum",
    "cut",
    "df",
    "dirname",
    "grep",
    "head",
    "mkdir",
    "rm",
    "sort",
    "tail",
    "tr",
    "uname",
)


@pytest.fixture
def bare(tmp_path) -> dict[str, str]:
    """The environment of a machine on which nothing is installed."""
    (tmp_path / "bin").mkdir()
    for name in COREUTILS:
        found = shutil.which(name)
        assert found
        (tmp_path / "bin" / name).symlink_to(found)
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}


def refused(script: str, env: dict[str, str], *arguments: str) -> list[str]:
    """What a script says it lacks."""
    ended = subprocess.run([str(LOCAL / script), *arguments], env=env, capture_output=True, text=True)
    assert ended.returncode == 1
    return re.findall(r"^  - (.*)", ended.stderr, re.MULTILINE)


def test_everything_that_is_missing_is_named_at_once(bare):
    lacks = refused("requirements.sh", bare)
    assert lacks[0].startswith("namespaces:" if os.geteuid() == 0 else "root:")
    assert lacks[1].startswith("Go 1.25 or newer")
    assert re.match(r"Debian packages: apt-get install .*containerd .*buildah .*nftables ", lacks[-1])


def test_a_full_disk_and_an_old_go_are_named_with_what_is_there(bare, tmp_path):
    for name, prints in (("df", "1G\\n 3"), ("go", "go1.21.4")):
        script = tmp_path / "bin" / name
        script.unlink(missing_ok=True)
        script.write_text(f"#!/bin/sh\nprintf '{prints}\\n'\n")
        script.chmod(0o755)
    lacks = "\n".join(refused("requirements.sh", bare))
    assert f"20 GiB of disk space at {tmp_path}; 3 are free" in lacks
    assert f"Go 1.25 or newer; {tmp_path}/bin/go is 1.21" in lacks


def test_a_folder_with_a_long_name_is_refused(bare, tmp_path):
    long = tmp_path / ("x" * 80)
    assert any(str(long) in line for line in refused("requirements.sh", {**bare, "CLUSTER_HOME": str(long)}))
    assert not long.exists()


def test_kind_names_what_it_lacks(bare):
    assert refused("kind.sh", bare, "up") == ["the command docker", "the command kind", "the command kubectl"]


@pytest.mark.parametrize("command", ["run", "images", "load"])
def test_without_a_cluster_it_is_said_how_to_start_one(command, tmp_path):
    ended = subprocess.run(
        [str(LOCAL / "cluster.sh"), command, "true"],
        env={**os.environ, "CLUSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "make cluster" in ended.stderr


def test_the_scripts_are_clean():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    subprocess.run([str(shellcheck), "--external-sources", *SCRIPTS], check=True, cwd=ROOT)


def test_nftables_takes_the_rules():
    if not shutil.which("nft"):
        pytest.skip("nftables is not installed")
    new_network = ["unshare", "--map-root-user", "--net", "--"]
    if subprocess.run([*new_network, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    pods = [Pod("store", {"app": "writer"}, "10.88.0.2"), Pod("store", {"app": "ingest"}, "10.88.0.3")]
    peers = [{"podSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}}]
    ports = [{"port": 8012}, {"port": 1, "endPort": 9, "protocol": "UDP"}, {"protocol": "UDP"}]
    spec = {
        "podSelector": {"matchLabels": {"app": "writer"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": peers, "ports": ports}],
        "egress": [{"to": peers}, {}],
    }
    rules = ruleset([{"metadata": {"namespace": "store"}, "spec": spec}], Cluster(pods, {"store": {}}))
    # Twice, because the second time everything is there already.
    subprocess.run([*new_network, "nft", "--file", "-"], input=rules * 2, text=True, check=True)
