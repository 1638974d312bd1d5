#!/usr/bin/env bash
# Runs Knative's conformance tests of networking layers against the local cluster's: run.sh [FLAG OF GO'S TESTS...],
# for instance -test.run TestIngress/grpc. The cluster must be up.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=knative/local/settings.sh
. ../../settings.sh
export GOFLAGS="-buildvcs=false" CGO_ENABLED=0
box=$home/conformance tag=$(cksum <go.sum | cut -d ' ' -f 1)
names=(grpc-ping httpproxy retry runtime timeout wsserver)

mkdir -p "$box"
go test -c -o "$box/tests" .
for name in "${names[@]}"; do
  archive=$images/dev.local_${name}_$tag.tar
  [[ -e $archive ]] && continue
  go build -ldflags "-s -w" -o "$box/$name" "knative.dev/networking/test/test_images/$name"
  printf 'FROM scratch\nCOPY %s /program\nUSER 65532:65532\nENTRYPOINT ["/program"]\n' "$name" |
    buildah --root "$home/buildah" --runroot "$home/buildah-run" --storage-driver overlay build --quiet --file - \
      --tag "docker-archive:$archive:dev.local/$name:$tag" "$box" >/dev/null
  rm "$box/$name"
done
for name in "${names[@]}"; do ../../cluster.sh load "dev.local/$name:$tag"; done

kube create namespace serving-tests >/dev/null
trap 'kube delete namespace serving-tests >/dev/null' EXIT
# Nice, because one of the tests sends requests as fast as it can.
../../cluster.sh run env GOMAXPROCS=1 nice "$box/tests" -test.v -test.parallel 2 -test.timeout 20m \
  -kubeconfig "$kubeconfig" -dockerrepo dev.local -tag "$tag" -ingressendpoint "$node_ip" \
  -ingressClass local.ingress.networking.knative.dev -enable-beta -enable-alpha "$@"
