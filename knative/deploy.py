"""Deploys functions with the `func` command, all of them from one image that is already there.

`func` writes what it did into the descriptor it was given, so it gets a copy.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPLIT = ROOT / "knative" / "func"
NAMESPACE = "datastore"  # the one written in the descriptors
FIRST = "writer"  # the others ask it


def descriptors() -> dict[str, Path]:
    """Every function's descriptor: the whole store's is the root one."""
    return {"datastore": ROOT / "func.yaml", **{path.parent.name: path for path in sorted(SPLIT.glob("*/func.yaml"))}}


def in_namespace(text: str, namespace: str) -> str:
    """A descriptor whose hosts (writer.datastore.svc.cluster.local) lie in another namespace."""
    return re.sub(rf"(//[a-z]+)\.{NAMESPACE}\.svc\.", rf"\1.{namespace}.svc.", text)


def command(func: str, folder: Path, image: str, namespace: str) -> list[str]:
    """The call that deploys the function in `folder` without building or pushing anything."""
    what = ["--build=false", "--push=false", "--image", image, "--namespace", namespace]
    return [func, "deploy", "--path", str(folder), *what]


def deploy(names: Sequence[str], images: dict[str, str], namespace: str, func: str) -> None:
    """Deploy the named functions; `images` has those of "preproc", "datasets" and "strain", and one for the rest, "".

    Raises:
        subprocess.CalledProcessError: `func` did not succeed with one of them; those behind it were not tried.
    """
    sources = descriptors()
    for name in sorted(names, key=lambda name: (name != FIRST, name)):
        with tempfile.TemporaryDirectory() as copy:
            text = in_namespace(sources[name].read_text(), namespace)
            (Path(copy) / "func.yaml").write_text(text)
            call = command(func, Path(copy), images.get(name, images[""]), namespace)
            print(" ".join(call), flush=True)
            subprocess.run(call, check=True, cwd=copy)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and deploy."""
    known = descriptors()
    split = [name for name in known if name != "datastore"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True, help="what the Dockerfile makes")
    parser.add_argument(
        "--preproc-image",
        default="",
        help="what its target `preproc` makes; without it no preproc, no datasets, and no HDF5",
    )
    parser.add_argument("--namespace", default=NAMESPACE)
    parser.add_argument("--func", default=shutil.which("func") or shutil.which("kn-func") or "func")
    parser.add_argument(
        "functions", nargs="*", default=split, help=f"of {', '.join(known)}; default: all but datastore"
    )
    given = parser.parse_args(arguments)
    if unknown := set(given.functions) - set(known):
        parser.error(f"no such function: {', '.join(sorted(unknown))}")
    names = [name for name in given.functions if name not in ("preproc", "datasets") or given.preproc_image]
    science = dict.fromkeys(("preproc", "datasets"), given.preproc_image)
    images = {"": given.image, **science, "strain": given.preproc_image or given.image}
    try:
        deploy(names, images, given.namespace, given.func)
    except (OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
