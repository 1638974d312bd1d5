#!/usr/bin/env bash
# Installs on the running node: volumes, DNS, Knative Serving and Eventing with the in-memory broker, and the ingress.
set -euo pipefail
# shellcheck source=knative/local/settings.sh
. "$(dirname "$0")/settings.sh"

apply() { kube apply --server-side --force-conflicts --filename "${1:--}" >/dev/null; }

serving=$(module knative.dev/serving) eventing=$(module knative.dev/eventing)
/usr/bin/python3 "$here/manifests.py" "$run" "$serving/config/core" \
  "$(module knative.dev/caching)/config" "$(module knative.dev/networking)/config" \
  "$eventing/config/core" "$eventing/third_party/eventing-integrations-latest" \
  "$eventing/config/channels/in-memory-channel" "$eventing/config/brokers/mt-channel-broker"

apply "$run/kinds.yaml"
apply "$(module "sigs.k8s.io/gateway-api@$GATEWAY_API")/config/crd/standard"
apply "$here/small-requests.yaml"
apply "$here/storage.yaml"
sed "s/DNS_IP/$dns_ip/" "$here/dns.yaml" | apply
kube wait --for=condition=Established crd --all --timeout=60s >/dev/null
apply "$run/knative.yaml"
[[ ! -e $here/ingress/manifest.yaml ]] || apply "$here/ingress/manifest.yaml"
kube wait deployment --all --all-namespaces --for=condition=Available --timeout=300s >/dev/null
