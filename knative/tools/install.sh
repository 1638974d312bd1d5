#!/usr/bin/env bash
# Puts Knative's own parts, which the tests run, into a cache: knative/tools/install.sh [schemas|all|func|s3]. Needs Go.
#
# `schemas` (quick): the CustomResourceDefinitions of Serving, Eventing and the Gateway API, func's JSON schema, and
# kustomize where there is no kubectl. `all` (some minutes): also Serving's queue-proxy, its and Eventing's admission
# checks, the `func` command, and what the local clusters' ingress is built from. `func`: that command and nothing else.
# `s3`: an S3 server for the tests of archives, and nothing else. Versions are pinned here, in the go.mod files beside
# this script, and in the ingress'.
set -euo pipefail

SERVING=v0.50.0 EVENTING=v0.50.0 # Knative 1.23
FUNC=v0.49.2                     # the same version is in func/go.mod
GATEWAY=v1.4.0
KUSTOMIZE=v5.8.1
VERSITYGW=v1.8.0 # Apache-2.0

here=$(cd "$(dirname "$0")" && pwd)
cache=${KNATIVE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/dt-datastore}
mkdir -p "$cache/schemas"
export GOFLAGS="-buildvcs=false -mod=mod" GOBIN="$cache"

have_version() { [[ "$(cat "$cache/$1.version" 2>/dev/null)" == "$2" ]]; }
have() { [[ -e "$cache/$1" ]] && have_version "$1" "$2"; }
done_with() { echo "$2" >"$cache/$1.version"; }

module() { # the folder of a module's source, downloaded if need be
  (cd "$cache" && go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}

schemas() {
  local version="serving $SERVING, eventing $EVENTING, gateway $GATEWAY, func $FUNC"
  have schemas "$version" && return
  local from
  rm -rf "$cache/schemas" && mkdir -p "$cache"/schemas/{serving,eventing,gateway,func}
  from=$(module "knative.dev/serving@$SERVING") && cp "$from"/config/core/300-resources/*.yaml "$cache/schemas/serving/"
  from=$(module "knative.dev/eventing@$EVENTING") && cp "$from"/config/core/resources/*.yaml "$cache/schemas/eventing/"
  from=$(module "sigs.k8s.io/gateway-api@$GATEWAY") && cp "$from"/config/crd/standard/*.yaml "$cache/schemas/gateway/"
  from=$(module "knative.dev/func@$FUNC") && cp "$from"/schema/func_yaml-schema.json "$cache/schemas/func/"
  chmod -R u+w "$cache/schemas"
  done_with schemas "$version"
}

kustomize() {
  command -v kubectl >/dev/null || command -v kustomize >/dev/null || have kustomize "$KUSTOMIZE" && return
  go install "sigs.k8s.io/kustomize/kustomize/v5@$KUSTOMIZE"
  done_with kustomize "$KUSTOMIZE"
}

queue() {
  have queue "$SERVING" && return
  go install "knative.dev/serving/cmd/queue@$SERVING"
  done_with queue "$SERVING"
}

build() { # NAME PACKAGE VERSION: from a copy, so that Go may complete the module's list of dependencies there
  have "$1" "$3" && return
  local copy
  copy=$(mktemp -d)
  cp "$here/$1"/* "$copy/"
  (cd "$copy" && go build -o "$cache/$1" "$2")
  rm -rf "$copy"
  done_with "$1" "$3"
}

ingress() { # compiles it and its tests into Go's cache: where the tests run there is no network
  local version
  version=$(cat "$here"/../local/ingress/{*.go,go.mod} | cksum)
  have_version ingress "$version" && return
  (cd "$here/../local/ingress" && GOFLAGS=-buildvcs=false CGO_ENABLED=0 go test -run '^$' ./... >/dev/null)
  done_with ingress "$version"
}

s3() {
  have versitygw "$VERSITYGW" && return
  go install "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW"
  done_with versitygw "$VERSITYGW"
}

func() { build func knative.dev/func/cmd/func "$FUNC"; }

case "${1:-all}" in
s3 | func)
  "$1"
  exit
  ;;
esac
schemas
kustomize
if [[ "${1:-all}" == all ]]; then
  queue
  build admit . "serving $SERVING, eventing $EVENTING, $(cat "$here/admit/main.go" "$here/admit/go.mod" | cksum)"
  func
  ingress
fi
