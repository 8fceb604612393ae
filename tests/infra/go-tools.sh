#!/bin/sh
# Installs the tools that come as Go modules into the folder $1. Without Go it says so and leaves them out:
# the tests that need them say the same and are skipped. Helm takes two minutes the first time.
set -eu

folder=$1
if ! command -v go >/dev/null; then
  echo "go is not installed: helm and actionlint are left out, and what they check is skipped" >&2
  exit 0
fi
mkdir -p "$folder"
GOBIN=$(cd "$folder" && pwd)
export GOBIN
for tool in helm.sh/helm/v3/cmd/helm@v3.22.0 github.com/rhysd/actionlint/cmd/actionlint@v1.7.12; do
  echo "installing $tool"
  go install "$tool" || echo "$tool was not installed (this is $(go version)); what it checks is skipped" >&2
done
