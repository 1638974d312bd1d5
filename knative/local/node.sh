#!/usr/bin/env bash
# The node: node.sh up|down. It runs in network, mount and process namespaces of its own, so that nothing outside sees
# it, and all of it ends with the first process in there.
set -euo pipefail
# shellcheck source=knative/local/settings.sh
. "$(dirname "$0")/settings.sh"

# The kubelet sets these for the whole machine.
SYSCTLS=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes)

certificates() {
  mkdir -p "$run/pki" && cd "$run/pki"
  local key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  openssl req -x509 "${key[@]}" -days 365 -subj /CN=ca -keyout ca.key -out ca.crt
  openssl ecparam -name prime256v1 -genkey -noout -out accounts.key
  sign() { # NAME SUBJECT ADDRESSES
    openssl req "${key[@]}" -subj "$2" -keyout "$1.key" -out "$1.csr"
    printf 'extendedKeyUsage=clientAuth,serverAuth\nsubjectAltName=%s\n' "$3" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile "$1.ext" -out "$1.crt"
  }
  local name=DNS:kubernetes.default.svc
  sign apiserver /CN=apiserver "DNS:kubernetes,DNS:kubernetes.default,$name,$name.cluster.local,IP:$api_ip,IP:127.0.0.1,IP:$node_ip"
  sign admin /O=system:masters/CN=admin DNS:admin
  sign kubelet /O=system:nodes/CN=system:node:node "DNS:node,IP:$node_ip"
  cd "$OLDPWD"
}

configuration() {
  local file
  mkdir -p "$run"/{cni,log/pods,kubelet,plugins,etcd,volumes,var/{upper,work}}
  for file in containerd.toml kubelet.yaml proxy.yaml pods.conflist; do
    sed "s|HOME|$home|; s|RUN|$run|; s|POD_RANGE|$pod_range|; s|DNS_IP|$dns_ip|; s|CGROUP|$cgroup|" "$here/node/$file" >"$run/$file"
  done
  mv "$run/pods.conflist" "$run/cni/"
  for file in admin kubelet; do
    sed "s|RUN|$run|g; s|WHO|$file|g" "$here/node/kubeconfig" >"$run/$file.kubeconfig"
  done
}

declare -A parts=()
start() { # NAME COMMAND...: in the background, with a log of its own
  "${@:2}" >>"$run/log/$1.log" 2>&1 &
  parts[$1]=$!
}

all_run() { # or the node's log says which one does not, and the node ends
  local name
  for name in "${!parts[@]}"; do
    kill -0 "${parts[$name]}" 2>/dev/null || { echo "$name has ended: $run/log/$name.log" && exit 1; }
  done
}

# Takes in the images that are new, before anything else speaks to containerd. What is left of an earlier node's
# containers goes.
load_images() {
  local archive container pid ctr=(ctr --namespace k8s.io)
  sed 's/^version = 2$/&\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]/' "$run/containerd.toml" >"$run/loader.toml"
  containerd --config "$run/loader.toml" --log-level warn &
  pid=$!
  until "${ctr[@]}" version >/dev/null 2>&1; do sleep 0.1; done
  for container in $("${ctr[@]}" containers list --quiet); do "${ctr[@]}" containers remove "$container"; done
  for archive in "$images"/*.tar; do
    [[ $home/containerd/loaded/$(basename "$archive") -nt $archive ]] && continue
    "${ctr[@]}" images import "$archive"
    mkdir -p "$home/containerd/loaded" && touch "$home/containerd/loaded/$(basename "$archive")"
  done
  kill "$pid" && { wait "$pid" || true; }
  rm -rf "$home/containerd/io.containerd.grpc.v1.cri"
}

inside() { # the first process of the namespaces
  mount --make-rshared /
  mount -t tmpfs run /run && mkdir -p /run/lock
  mount -t overlay -o "lowerdir=/var/lib,upperdir=$run/var/upper,workdir=$run/var/work" var /var/lib
  mkdir -p /var/lib/kubelet && mount --bind "$run/kubelet" /var/lib/kubelet
  mount --bind "$run/log" /var/log
  # The services' addresses need a route, although they are rewritten before anything is sent.
  ip link set lo up
  ip link add node0 type bridge && ip address add "$node_ip/24" dev node0 && ip link set node0 up
  ip route add default dev node0
  echo 1 >/proc/sys/net/ipv4/ip_forward

  local pki=$run/pki
  start etcd "$bin/kube" etcd --data-dir "$run/etcd" --unsafe-no-fsync --log-level warn
  start apiserver "$bin/kube" kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address "$node_ip" \
    --service-cluster-ip-range "$service_range" --authorization-mode Node,RBAC --allow-privileged \
    --kubelet-preferred-address-types InternalIP --feature-gates MutatingAdmissionPolicy=true \
    --runtime-config admissionregistration.k8s.io/v1beta1=true \
    --client-ca-file "$pki/ca.crt" --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
    --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$pki/accounts.key" --service-account-signing-key-file "$pki/accounts.key"
  load_images >"$run/log/images.log" 2>&1
  start containerd containerd --config "$run/containerd.toml" --log-level warn
  until "$bin/kubectl" --kubeconfig "$kubeconfig" get --raw /readyz >/dev/null 2>&1; do all_run && sleep 0.2; done
  start controllers "$bin/kube" kube-controller-manager --kubeconfig "$kubeconfig" --leader-elect=false \
    --root-ca-file "$pki/ca.crt" --service-account-private-key-file "$pki/accounts.key" --use-service-account-credentials
  start scheduler "$bin/kube" kube-scheduler --kubeconfig "$kubeconfig" --leader-elect=false
  start proxy "$bin/kube" kube-proxy --config "$run/proxy.yaml"
  start kubelet "$bin/kube" kubelet --config "$run/kubelet.yaml" --kubeconfig "$run/kubelet.kubeconfig" \
    --hostname-override node --node-ip "$node_ip"
  cd "$here/../.." && PYTHONDONTWRITEBYTECODE=1 start agent /usr/bin/python3 -m knative.local.agent "$run"
  until "$bin/kubectl" --kubeconfig "$kubeconfig" wait --for=condition=Ready node/node >/dev/null 2>&1; do all_run && sleep 0.2; done
  touch "$run/started"
  wait
}

up() {
  local name
  rm -rf --one-file-system "$run" && mkdir -p "$run"
  for name in "${SYSCTLS[@]}"; do echo "$name $(cat "/proc/sys/$name")"; done >"$run/sysctls"
  certificates >"$run/certificates.log" 2>&1
  configuration
  for name in $(cgroups); do mkdir -p "$name/$cgroup"; done
  # In version 1, an empty cpuset takes no process, and every process outside weighs as much as a whole group.
  for name in $(cgroups | grep '/cpu$'); do echo 8192 >"$name/$cgroup/cpu.shares"; done
  for name in $(cgroups | grep cpuset); do
    for set in cpus mems; do cat "$name/cpuset.$set" >"$name/$cgroup/cpuset.$set"; done
  done
  setsid unshare --net --mount --pid --fork --mount-proc --kill-child bash "$0" inside </dev/null >"$run/log/node.log" 2>&1 &
  until pgrep --parent $! >"$run/node.pid"; do sleep 0.05; done
  until [[ -e $run/started ]]; do
    is_up || { say "the node ended. $(tail -n 1 "$run/log/node.log")" && exit 1; }
    sleep 0.2
  done
}

cgroups() { # the folders of the hierarchies: one in version 2, one for each controller in version 1
  awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/self/mounts
}

down() {
  local name value pid
  if is_up; then
    pid=$(cat "$run/node.pid")
    kill -KILL "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done # it is the last one to go
  fi
  [[ ! -e $run/sysctls ]] || while read -r name value; do echo "$value" >"/proc/sys/$name"; done <"$run/sysctls"
  for name in $(cgroups); do
    [[ ! -d $name/$cgroup ]] || find "$name/$cgroup" -depth -type d -exec rmdir {} +
  done
  rm -rf --one-file-system "$run"
}

case ${1:-} in
up | down | inside) "$1" ;;
*) echo "node.sh up|down" >&2 && exit 2 ;;
esac
