#!/usr/bin/env bash
# Names everything at once that this machine lacks for the local cluster. Installs what Debian has, where it can.
set -euo pipefail
# shellcheck source=knative/local/settings.sh
. "$(dirname "$0")/settings.sh"

GO=1.25    # what Kubernetes and Knative need
DISK=20    # GiB, for the caches of Go, too
MEMORY=6   # GiB

missing=() packages=()
lacks() { missing+=("$*"); }

# A command or file, and Debian's package with it. Docker's packages have some of them as well.
needs() { command -v "$1" >/dev/null || [[ -e $1 ]] || packages+=("$2"); }

needs containerd containerd
needs runc runc
needs /usr/lib/cni/ptp containernetworking-plugins
needs buildah buildah
needs debootstrap debootstrap
needs nft nftables
needs ip iproute2
needs openssl openssl
needs pgrep procps
needs /usr/bin/python3 python3
needs /usr/lib/python3/dist-packages/yaml python3-yaml
needs /etc/ssl/certs/ca-certificates.crt ca-certificates

if [[ $(uname -s) != Linux ]]; then
  lacks "Linux. With Docker, KIND=1 works elsewhere"
elif ((EUID != 0)); then
  lacks "root: it makes network interfaces and mounts, in namespaces of its own. Use sudo"
elif ! unshare --net --mount --pid --fork true 2>/dev/null; then
  lacks "namespaces: unshare --net --mount --pid is refused. Is this a container? It would have to be privileged"
else
  unshare --net ip link add test0 type veth peer name test1 2>/dev/null || [[ " ${packages[*]} " == *" iproute2 "* ]] ||
    lacks "virtual network interfaces: the kernel refuses one of type veth"
  unshare --net nft add table inet test 2>/dev/null || [[ " ${packages[*]} " == *" nftables "* ]] ||
    lacks "nftables: the kernel refuses a table"
  mkdir -p "$home/test/"{lower,upper,work,merged}
  unshare --mount mount -t overlay -o "lowerdir=$home/test/lower,upperdir=$home/test/upper,workdir=$home/test/work" \
    test "$home/test/merged" 2>/dev/null ||
    lacks "overlay mounts at $home. Let CLUSTER_HOME name a folder on ext4 or XFS"
  rm -rf "$home/test"
fi

version=$(go env GOVERSION 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -n 1) || true
if [[ -z $version ]]; then
  lacks "Go $GO or newer (https://go.dev/dl/)"
elif [[ $(printf '%s\n' "$GO" "$version" | sort -V | head -n 1) != "$GO" ]]; then
  lacks "Go $GO or newer; $(command -v go) is $version"
fi

if [[ ! -e $images/complete ]]; then
  folder=$home
  until [[ -d $folder ]]; do folder=$(dirname "$folder"); done
  free=$(df --output=avail --block-size=1G "$folder" | tail -n 1 | tr -d ' ')
  ((free >= DISK)) || lacks "$DISK GiB of disk space at $folder; $free are free. CLUSTER_HOME can name another folder"
fi
memory=$(awk '/^MemTotal/ { print int($2 / 1048576) }' /proc/meminfo 2>/dev/null || echo 0)
((memory >= MEMORY - 1)) || lacks "$MEMORY GiB of memory; there are $memory"
# The sockets below it have names of up to 40 bytes, of 107 that the kernel allows.
((${#home} <= 64)) || lacks "a shorter CLUSTER_HOME, of 64 bytes at most: $home"

if ((${#packages[@]})); then
  install="apt-get install --no-install-recommends ${packages[*]}"
  if ((EUID == 0 && ${#missing[@]} == 0)) && command -v apt-get >/dev/null; then
    say "$install"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  else
    lacks "Debian packages: $install"
  fi
fi

if ((${#missing[@]})); then
  printf 'A local cluster cannot run here. It needs\n' >&2
  printf '  - %s\n' "${missing[@]}" >&2
  exit 1
fi
