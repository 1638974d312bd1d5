# Folders, versions and addresses of the local cluster, and what several of its scripts need. Read by them, not run.
# shellcheck shell=bash disable=SC2034

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_tree=$(cd "${SOURCE:-$here/../..}" && pwd)
home=${CLUSTER_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/dt-datastore/cluster}
bin=$home/bin                # what is compiled
images=$home/images          # an archive for each image
run=$home/run                # all that a running node writes; deleted with it
kubeconfig=$run/admin.kubeconfig

KUBERNETES=1.34.4 GATEWAY_API=v1.4.0 # Knative's version is in go/go.mod
DEBIAN=bookworm                      # of the images' base

node_ip=10.77.0.1 pod_range=10.88.0.0/16 service_range=10.96.0.0/16
api_ip=10.96.0.1 dns_ip=10.96.0.10

# Two clusters on one machine have different homes.
cgroup=dt-datastore-$(cksum <<<"$home" | cut -d ' ' -f 1)

say() { printf 'cluster: %s\n' "$*" >&2; }

is_up() { [[ -e $run/node.pid ]] && grep -qz node.sh "/proc/$(cat "$run/node.pid")/cmdline" 2>/dev/null; }

on_node() { # a command in the node's namespaces, in the same folder
  nsenter --target "$(cat "$run/node.pid")" --net --mount --pid --wdns="$PWD" -- "$@"
}

kube() { on_node "$bin/kubectl" --kubeconfig "$kubeconfig" "$@"; }

module() { # the folder of the source of MODULE, which go/go.mod has, or of MODULE@VERSION
  (cd "$here/go" && go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}
