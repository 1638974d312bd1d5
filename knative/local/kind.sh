#!/usr/bin/env bash
# The same cluster with Docker, from the projects' released images: kind.sh up|down|forget|images|run COMMAND...
# Its versions are those that `kn quickstart kind` installs with Knative 1.23. Nothing outside CLUSTER_HOME and Docker
# changes; ~/.kube/config stays as it is.
set -euo pipefail
# shellcheck source=knative/local/settings.sh
. "$(dirname "$0")/settings.sh"

NODE=kindest/node:v1.34.0 KNATIVE=1.23.0
name=dt-datastore
export KUBECONFIG=$home/kind.kubeconfig

requirements() {
  local command missing=()
  for command in docker kind kubectl; do command -v "$command" >/dev/null || missing+=("the command $command"); done
  [[ " ${missing[*]} " == *docker* ]] || docker info >/dev/null 2>&1 ||
    missing+=("a Docker engine that runs, and that this user may use: docker info fails")
  ((${#missing[@]} == 0)) && return
  printf 'A cluster with kind cannot run here. It needs\n' >&2
  printf '  - %s\n' "${missing[@]}" >&2
  printf 'Docker: https://docs.docker.com/engine/install, kind 0.30 or newer: https://kind.sigs.k8s.io\n' >&2
  exit 1
}

release() { # PROJECT FILE...: applies files of a release
  local file
  for file in "${@:2}"; do
    kubectl apply --server-side --force-conflicts --filename "https://github.com/$1/releases/download/knative-v$KNATIVE/$file.yaml" >/dev/null
  done
}

available() { kubectl wait deployment --all --all-namespaces --for=condition=Available --timeout=600s >/dev/null; }

set_config() { kubectl patch configmap "$1" --namespace knative-serving --type merge --patch "$2" >/dev/null; }

knative() {
  say "installing Knative $KNATIVE"
  release knative/serving serving-crds
  release knative/eventing eventing-crds
  kubectl wait --for=condition=Established crd --all --timeout=60s >/dev/null
  release knative/serving serving-core
  release knative-extensions/net-kourier kourier
  release knative/eventing eventing-core
  available # the webhooks check what comes next
  release knative/eventing in-memory-channel mt-channel-broker
  kubectl apply --server-side --filename "https://github.com/kubernetes-sigs/gateway-api/releases/download/$GATEWAY_API/standard-install.yaml" >/dev/null
  set_config config-network '{"data": {"ingress-class": "kourier.ingress.networking.knative.dev"}}'
  set_config config-domain '{"data": {"example.com": ""}}'
  kubectl patch configmap config-features --namespace knative-serving --patch-file "$source_tree/knative/cluster/config-features.patch.yaml" >/dev/null
  available
}

images() {
  docker build --quiet --tag dev.local/dt-datastore:dev "$source_tree" >/dev/null
  docker build --quiet --tag dev.local/dt-datastore-preproc:dev --target preproc "$source_tree" >/dev/null
  kind load docker-image --name "$name" dev.local/dt-datastore:dev dev.local/dt-datastore-preproc:dev
}

case ${1:-} in
up)
  requirements
  mkdir -p "$home"
  if ! kind get clusters --quiet | grep -qx "$name"; then
    kind create cluster --name "$name" --image "$NODE" --wait 120s
    knative
  fi
  images
  say "try  KUBECONFIG=$KUBECONFIG kubectl get pods --all-namespaces;  make e2e KIND=1;  make cluster-down KIND=1"
  ;;
down)
  requirements
  kind delete cluster --name "$name"
  ;;
forget)
  "$0" down
  docker image rm --force "$NODE" dev.local/dt-datastore:dev dev.local/dt-datastore-preproc:dev
  ;;
images)
  requirements
  images
  ;;
run) DATASTORE_KUBECONFIG=$KUBECONFIG "${@:2}" ;;
*) echo "kind.sh up|down|forget|images|run COMMAND..." >&2 && exit 2 ;;
esac
