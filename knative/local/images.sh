#!/usr/bin/env bash
# Packs the programs into images, and builds the project's two from its Dockerfile: images.sh [programs|project].
# Each is an archive in `images`, which the node takes in. What has not changed stays.
set -euo pipefail
# shellcheck source=knative/local/settings.sh
. "$(dirname "$0")/settings.sh"
mkdir -p "$images"

buildah_() { buildah --root "$home/buildah" --runroot "$home/buildah-run" --storage-driver overlay "$@"; }

archive() { # IMAGE: writes its archive, unless the one that is there is of the same image
  local file id before
  file=$images/$(tr '/:' '__' <<<"$1").tar
  id=$(buildah_ images --quiet --no-trunc "$1")
  before=$(cat "$file.id" 2>/dev/null || true)
  [[ -e $file && $before == "$id" ]] && return
  rm -f "$file"
  buildah_ push --quiet "$1" "docker-archive:$file.new:$1"
  mv "$file.new" "$file"
  echo "$id" >"$file.id"
  [[ -z $before ]] || buildah_ rmi "$before" >/dev/null 2>&1 || true # its name is the new one's now
}

programs() {
  local name box=$home/box
  { grep -v '^#' "$here/go/programs.txt" && echo ingress; } | while read -r name _; do
    [[ ! -e $bin/$name || $images/dev.local_${name}_1.tar -nt $bin/$name ]] && continue
    say "packing $name"
    rm -rf "$box" && mkdir -p "$box"/{ko-app,etc,tmp} && chmod 1777 "$box/tmp"
    echo "nonroot:x:65532:65532::/tmp:/" >"$box/etc/passwd"
    ln "$bin/$name" "$box/ko-app/$name"
    printf 'FROM scratch\nCOPY . /\nUSER 65532:65532\nENTRYPOINT ["/ko-app/%s"]\n' "$name" |
      buildah_ build --quiet --file - --tag "dev.local/$name:1" "$box" >/dev/null
    archive "dev.local/$name:1"
    # It is in its archive now.
    buildah_ rmi "dev.local/$name:1" >/dev/null
  done
  rm -rf "$box"
}

# Debian and its Python, in place of the Dockerfile's base, which comes from a registry of images. /usr/local is a
# virtual environment, so that pip may install into it, and python and pip are where the official image has them.
base() {
  local root=$home/base mirror
  [[ -n $(buildah_ images --quiet dev.local/python:$DEBIAN 2>/dev/null) ]] && return
  say "making the base image from Debian's packages"
  mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 || true)
  rm -rf "$root"
  debootstrap --variant=minbase --include=ca-certificates,netbase,tzdata,python3,python3-venv "$DEBIAN" "$root" \
    ${mirror:+"${mirror% }"} >"$home/debootstrap.log"
  chroot "$root" python3 -m venv /usr/local
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
  printf 'FROM scratch\nCOPY . /\nCMD ["python3"]\n' |
    buildah_ build --quiet --file - --tag "dev.local/python:$DEBIAN" "$root" >/dev/null
  rm -rf "$root"
}

# How this machine reaches the package index: pip's settings and the certificates. They are mounted, so that no image
# has them.
pip_settings() {
  local key value
  echo "[global]"
  echo "cert = /etc/ssl/certs/ca-certificates.crt"
  for key in index-url extra-index-url trusted-host proxy timeout; do
    value=PIP_$(tr a-z- A-Z_ <<<"$key")
    value=${!value:-$(python3 -m pip config get "global.$key" 2>/dev/null || true)}
    [[ -z $value ]] || echo "$key = $value"
  done
}

project() {
  local target state
  # Of all that .dockerignore lets through.
  state=$(cd "$source_tree" && { find shared functions -name __pycache__ -prune -o -type f -print0 && printf '%s\0' Dockerfile \
    .dockerignore requirements* pyproject.toml README.md LICENSE; } | sort -z | xargs -0 cksum | cksum)
  [[ $(cat "$images/project.built" 2>/dev/null) == "$state" ]] && return
  base
  pip_settings >"$home/pip.conf"
  for target in datastore preproc; do
    local image=dev.local/dt-datastore:dev
    [[ $target == datastore ]] || image=dev.local/dt-datastore-preproc:dev
    say "building $image"
    buildah_ build --isolation chroot --pull-never --layers --quiet --tag "$image" --target "$target" \
      --build-arg "PYTHON_IMAGE=dev.local/python:$DEBIAN" --volume "$home/pip.conf:/etc/pip.conf:ro" \
      --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro "$source_tree" >"$home/$target.log"
    archive "$image"
  done
  echo "$state" >"$images/project.built"
}

case ${1:-all} in
programs) programs ;;
project) project ;;
all) programs && project && touch "$images/complete" ;;
esac
