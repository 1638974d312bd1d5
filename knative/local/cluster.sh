#!/usr/bin/env bash
# A throw-away cluster of one node on this machine, with Knative: cluster.sh up|down|forget|images|load|run.
# docs/knative.md says what it needs. CLUSTER_HOME is its only folder, ~/.cache/dt-datastore/cluster by default.
set -euo pipefail
# shellcheck source=knative/local/settings.sh
. "$(dirname "$0")/settings.sh"

project_images=(dev.local/dt-datastore:dev dev.local/dt-datastore-preproc:dev)

usage() {
  cat >&2 <<'EOF'
cluster.sh up              builds what is missing, and starts the cluster; takes in the project's images if it runs already
cluster.sh down            ends it, with all that it stored; what was built stays
cluster.sh forget          down, and what was built goes too
cluster.sh run COMMAND...  a command on the node, where kubectl speaks to the cluster
cluster.sh images          builds the project's images anew, and has the node take them in
cluster.sh load IMAGE...   has the node take in what lies in the folder `images`
EOF
  exit 2
}

timed() { # WHAT COMMAND...
  local begun=$SECONDS
  "${@:2}"
  say "$1: $((SECONDS - begun)) s"
}

must_be_up() {
  is_up || { say "no cluster is up in $home. Start one with \`make cluster\`" && exit 1; }
  [[ $EUID == 0 ]] || { say "root is needed to enter the node. Use sudo" && exit 1; }
}

load() {
  local image file
  for image in "$@"; do
    file=$(tr '/:' '__' <<<"$image").tar
    [[ $home/containerd/loaded/$file -nt $images/$file ]] && continue
    on_node ctr --namespace k8s.io images import "$images/$file" >/dev/null
    touch "$home/containerd/loaded/$file"
  done
}

up() {
  "$here/requirements.sh"
  timed "compiled" "$here/build.sh"
  timed "packed into images" "$here/images.sh"
  if is_up; then
    load "${project_images[@]}"
    say "is up already"
  else
    "$here/node.sh" down # what is left where the machine was restarted
    timed "node started" "$here/node.sh" up
    timed "Knative installed and available" "$here/knative.sh"
  fi
  say "try  $here/cluster.sh run kubectl get pods --all-namespaces;  make e2e;  make cluster-down"
}

case ${1:-} in
up) up ;;
down) "$here/node.sh" down ;;
forget) "$here/node.sh" down && rm -rf --one-file-system "$home" ;;
images)
  must_be_up
  "$here/images.sh" project
  load "${project_images[@]}"
  ;;
load)
  must_be_up
  load "${@:2}"
  ;;
run)
  must_be_up
  # What `make e2e` reads. It may set Eventing's flags here.
  export DATASTORE_KUBECONFIG=$kubeconfig DATASTORE_GATEWAY=knative-serving/ingress-internal DATASTORE_FLAGS=set
  PATH=$bin:$PATH KUBECONFIG=$kubeconfig on_node "${@:2}"
  ;;
*) usage ;;
esac
