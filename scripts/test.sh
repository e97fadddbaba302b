#!/usr/bin/env bash
# Installs what is missing, builds and runs all tests. With CI=true warnings are errors.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

usage() {
  cat <<'TEXT'
scripts/test.sh [--yes] [--torch DIR] [--all] [-- CTEST OPTIONS]
  --yes        install what is missing without asking
  --torch DIR  LibTorch to use: its folder, or torch.utils.cmake_prefix_path
  --all        also get what some tests need and are skipped without: the Python packages of those against
               transformers, and on Debian a compiler and an emulator for arm64
  After --, options for ctest, for example -R unit
TEXT
}

all=false
while [ $# -gt 0 ]; do
  case $1 in
    --yes) ASSUME_YES=true; shift ;;
    --torch) TORCH_GIVEN=${2:?--torch needs a folder}; shift 2 ;;
    --all) all=true; shift ;;
    --help) usage; exit 0 ;;
    --) shift; break ;;
    *) echo "test.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done

install_packages
find_torch
if $all; then
  if have apt-get && [ "$(uname -m)" = x86_64 ]; then
    DEBIAN_PACKAGES="g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" install_packages
  fi
  step "Python packages for the parity tests"
  make_venv
  python_torch "$XINSLM_ROOT/.venv/bin/python" >/dev/null || install_torch_wheel
  pip_install transformers safetensors numpy sentencepiece ||
    die "pip could not install transformers, safetensors, numpy, sentencepiece"
fi
werror=OFF
[ "${CI:-}" != true ] || werror=ON
configure -DXINSLM_TESTS=ON "-DXINSLM_WERROR=$werror"
build
step "Tests"
cd "$XINSLM_ROOT"
log=build/release/tests.log
status=0
# Threads that sleep while they wait: spinning ones slow tests down badly beside other work.
export OMP_WAIT_POLICY=passive
ctest --preset release "$@" | tee "$log" || status=$?
read -r failed total < <(sed -n 's/.*, \([0-9]*\) tests* failed out of \([0-9]*\).*/\1 \2/p' "$log") ||
  die "ctest did not finish"
skipped=$(grep -c '\*\*\*Skipped' "$log") || true
echo "$((total - failed - skipped)) passed, $failed failed, $skipped skipped" | tee build/release/tests.txt
if $all && grep -q 'parity.*\*\*\*Skipped' "$log"; then die "with --all no test of parity may be skipped"; fi
exit "$status"
