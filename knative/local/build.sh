#!/usr/bin/env bash
# Compiles Kubernetes, Knative, CoreDNS, the ingress and `func` from their Go modules, and takes Debian's Prometheus.
# What is there, and of the same source, stays.
set -euo pipefail
# shellcheck source=knative/local/settings.sh
. "$(dirname "$0")/settings.sh"
export GOFLAGS="-buildvcs=false" CGO_ENABLED=0
mkdir -p "$bin"

build() { # NAME FOLDER PACKAGE [LDFLAGS]
  local state
  state=$({ find "$2" -name '*.go' -o -name 'go.*' | sort | xargs cat && go env GOVERSION && echo "${4:-}"; } | cksum)
  [[ -e $bin/$1 && $(cat "$bin/$1.built" 2>/dev/null) == "$state" ]] && return
  say "compiling $1"
  (cd "$2" && nice -n 5 go build -ldflags "-s -w ${4:-}" -o "$bin/$1" "$3")
  echo "$state" >"$bin/$1.built"
}

version=k8s.io/component-base/version
build kube "$here/kube" . "-X $version.gitVersion=v$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=34"
ln -sf kube "$bin/kubectl"
grep -v '^#' "$here/go/programs.txt" | while read -r name package; do
  build "$name" "$here/go" "$package"
done
[[ ! -e $here/ingress/go.mod ]] || build ingress "$here/ingress" .

# For the test of what it deploys, which is skipped without it. With the flags of `make test-knative` it is built once.
env --unset=CGO_ENABLED "$here/../tools/install.sh" func || say "no func"

# For the tests of alerts, which are skipped without it. Only the programs, because the package starts a server.
if [[ ! -e $bin/prometheus ]]; then
  package=$(mktemp -d)
  if (cd "$package" && apt-get download -qq prometheus && dpkg -x prometheus_*.deb .) >"$home/prometheus.log" 2>&1; then
    cp "$package"/usr/bin/{prometheus,promtool} "$bin/"
  else
    say "no Prometheus; $home/prometheus.log says why"
  fi
  rm -rf "$package"
fi
