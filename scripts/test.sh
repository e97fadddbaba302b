#!/usr/bin/env bash
# Installs what is missing, builds and runs all tests. With CI=true warnings are errors.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

usage() {
  cat <<'TEXT'
scripts/test.sh [--yes] [--torch DIR] [--parity] [-- CTEST OPTIONS]
  --yes        install what is missing without asking
  --torch DIR  LibTorch to use: its folder, or torch.utils.cmake_prefix_path
  --parity     also get the Python packages that the tests against transformers need (they are skipped without)
  After --, options for ctest, for example -R unit
TEXT
}

parity=false
while [ $# -gt 0 ]; do
  case $1 in
    --yes) ASSUME_YES=true; shift ;;
    --torch) TORCH_GIVEN=${2:?--torch needs a folder}; shift 2 ;;
    --parity) parity=true; shift ;;
    --help) usage; exit 0 ;;
    --) shift; break ;;
    *) echo "test.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done

install_packages
find_torch
if $parity; then
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
if $parity && [ "$skipped" -gt 0 ]; then die "with --parity no test may be skipped"; fi
exit "$status"
