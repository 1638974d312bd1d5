"""What `make deploy` puts on a cluster works: the embedded store, and the split one, each in a namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import yaml

from tests.conftest import ON_CLUSTER
from tests.e2e.cluster import AWAITED, Cluster
from tests.e2e.store import ClusterStore
from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.manifests import KNATIVE, TOOLS
from tests.support.servers import FUNCTION_OF

FUNCTIONS = sorted(set(FUNCTION_OF.values()) | {"writer"})

pytestmark = pytest.mark.skipif(not ON_CLUSTER, reason="needs a cluster: run `make e2e KUBECONFIG=...`")


class Deployed(Cluster):
    """A store that `func` has deployed; namespace, claims and policies come from the manifests."""

    def manifests(self) -> str:
        objects = yaml.safe_load_all(super().manifests())
        kinds = ("Namespace", "PersistentVolumeClaim", "NetworkPolicy")
        return yaml.safe_dump_all([object for object in objects if object["kind"] in kinds])

    def give_claims(self) -> None:
        """Run the handbook's Job: what func deploys has no fsGroup."""
        level = "pod-security.kubernetes.io/enforce"
        self.kubectl("label", "namespace", self.namespace, f"{level}=baseline", "--overwrite")
        job = (KNATIVE / "cluster" / "volumes.yaml").read_text()
        self.apply(job.replace("dev.local/dt-datastore:dev", self.image))
        self.kubectl("wait", "--for=condition=Complete", "job/volumes", "--timeout=120s")
        self.kubectl("label", "namespace", self.namespace, f"{level}=restricted", "--overwrite")

    def deploy(self, func: str) -> None:
        names = ["datastore"] if self.embedded else [name for name in FUNCTIONS if name != "strain"]
        images = ["--image", self.image, *([] if self.embedded else ["--preproc-image", self.preproc_image])]
        command = [sys.executable, str(KNATIVE / "deploy.py"), "--func", func, *images, "--namespace", self.namespace]
        server = self.kubectl("config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}").stdout
        # func asks an image's registry whether it may be pulled; dev.local is none, and that takes no time with a
        # proxy that is not there.
        nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        proxy = {**nowhere, "NO_PROXY": str(urlsplit(server.decode()).hostname)}
        env = {**os.environ, "KUBECONFIG": self.kubeconfig, **(proxy if self.image.startswith("dev.local/") else {})}
        done = subprocess.run([*command, *names], env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        self.kubectl("wait", "--for=condition=Ready", AWAITED["Service"], "--all", "--timeout=300s")


@pytest.fixture(params=["embedded", "dev"])
def deployed(request, cluster, tmp_path):
    if cluster.overlay != "dev":
        pytest.skip("the overlay does not matter to what func deploys: with `dev` it is tried")
    if not (func := shutil.which("func") or shutil.which("func", path=str(TOOLS))):
        pytest.skip("needs func (knative/tools/install.sh all)")
    given = {"kubeconfig": cluster.kubeconfig, "image": cluster.image, "preproc_image": cluster.preproc_image}
    own = Deployed(
        overlay=request.param, namespace=f"datastore-e2e-func-{request.param}", gateway=cluster.gateway, **given
    )
    try:
        own.install()
        own.give_claims()
        own.deploy(func)
        store = ClusterStore(own, tmp_path / "copy")
        yield store
        store.stop()
    finally:
        own.remove()


def test_what_func_deploys_stores_freezes_and_archives(deployed):
    assert deployed.cleanall().status == 201
    sent = {deployed.stored(segment(n)): segment(n) for n in range(1, 6)}
    assert deployed.check_exact()["n_itm"] == len(sent)
    assert deployed.freeze().status == 201
    assert deployed.send(segment(9)).status == 503
    assert deployed.cleanall().status == 201
    [*_, archive] = deployed.archives()
    assert check_archive(archive) == sent
