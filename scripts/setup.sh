# Sourced by scripts/quickstart.sh and scripts/test.sh: installs what is missing, finds LibTorch or gets it, configures.
# Works with the bash 3.2 of macOS. Everything said goes to standard error.
# shellcheck shell=bash

XINSLM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TORCH_WHEEL=2.13.0
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
ASSUME_YES=${ASSUME_YES:-false}
TORCH_GIVEN=${TORCH_GIVEN:-}
TORCH_PREFIX=
SUDO_AGREED=false

DEBIAN_PACKAGES="cmake ninja-build g++ pkg-config git ca-certificates python3 python3-venv libyaml-cpp-dev libcli11-dev
  libspdlog-dev libsentencepiece-dev libgtest-dev libedit-dev nlohmann-json3-dev zlib1g-dev"
HOMEBREW_PACKAGES="cmake ninja pkgconf yaml-cpp cli11 spdlog sentencepiece googletest nlohmann-json libomp"

say() { printf '%s\n' "$*" >&2; }
step() { printf '\n== %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# confirm QUESTION: yes with --yes; asks at a terminal; says what to do and stops elsewhere, so that nothing ever hangs.
confirm() {
  $ASSUME_YES && return 0
  [ -t 0 ] || die "$1 There is no terminal to ask at; run again with --yes to agree."
  local answer
  read -r -p "$1 [y/N] " answer
  case $answer in y | Y | yes | Yes) ;; *) die "stopped, nothing was changed" ;; esac
}

# as_root COMMAND...: at once as root, else through sudo after asking, once a run.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@" </dev/null
    return
  fi
  have sudo || die "this needs root and there is no sudo; run as root: $*"
  $SUDO_AGREED || confirm "Use sudo to install these?"
  SUDO_AGREED=true
  if [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@" </dev/null || die "sudo asks for a password and there is no terminal; run: sudo $*"
  fi
}

# ---- packages

# The Debian packages named that are not installed.
missing_debian_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
  done
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends "$@" >/dev/null ||
    die "apt-get could not install: $*"
}

install_packages() {
  step "Packages"
  if [ "$(uname)" = Darwin ]; then
    install_homebrew_packages
  elif have apt-get; then
    local missing
    # shellcheck disable=SC2086
    missing=$(missing_debian_packages $DEBIAN_PACKAGES)
    if [ -n "$missing" ]; then
      say "to install: $missing"
      as_root apt-get -o DPkg::Lock::Timeout=120 update -qq >/dev/null ||
        say "apt-get update failed; going on with the package lists that are there"
      # shellcheck disable=SC2086
      apt_install $missing
    fi
    say "all installed"
  else
    say "This system has neither apt-get nor Homebrew, so nothing is installed. Needed, under the names of your system:"
    say "  $DEBIAN_PACKAGES"
  fi
}

install_homebrew_packages() {
  xcode-select -p >/dev/null 2>&1 || die "Apple's command line tools are missing; run: xcode-select --install"
  have brew || die "Homebrew is missing; see https://brew.sh, then run this again"
  local package missing=
  for package in $HOMEBREW_PACKAGES; do
    brew list --formula "$package" >/dev/null 2>&1 || missing="$missing $package"
  done
  if [ -n "$missing" ]; then
    say "to install:$missing"
    # shellcheck disable=SC2086
    brew install $missing >&2 </dev/null || die "brew could not install:$missing"
  fi
  say "all installed"
}

# ---- LibTorch

# Takes the LibTorch at a prefix: sets TORCH_PREFIX and says so. take PREFIX WHAT
take() {
  TORCH_PREFIX=$1
  say "taken: LibTorch from $2 ($1)"
}

# Succeeds when a folder is a LibTorch: its own folder, torch.utils.cmake_prefix_path, or a prefix it is installed under.
is_libtorch() { [ -f "$1/include/ATen/ATen.h" ] || [ -f "$1/Torch/TorchConfig.cmake" ]; }

# at_least VERSION MINIMUM, comparing the first two numbers.
at_least() {
  local major=${1%%.*} rest=${1#*.}
  local minor=${rest%%[!0-9]*}
  [ "$major" -gt "${2%%.*}" ] || { [ "$major" -eq "${2%%.*}" ] && [ "$minor" -ge "${2#*.}" ]; }
}

# Prints "VERSION FOLDER" of the torch that a Python imports, when it is 2.6 or newer and made with the standard library
# types that the system's packages use; else says why not on standard error. python_torch PYTHON
python_torch() {
  local found version folder abi
  found=$("$1" -W ignore -c 'import os, torch
print(torch.__version__, torch.compiled_with_cxx11_abi(), os.path.dirname(torch.__file__))' 2>/dev/null </dev/null) || return 1
  read -r version abi folder <<<"$found"
  if ! at_least "$version" 2.6; then
    say "passed over: torch $version of $1, older than 2.6"
  elif [ "$abi" != True ] && [ "$(uname)" = Linux ]; then
    say "passed over: torch $version of $1, built with the C++ library types of before GCC 5"
  elif ! is_libtorch "$folder"; then
    say "passed over: torch $version of $1, which comes without headers"
  else
    echo "$version $folder"
    return 0
  fi
  return 1
}

# Looks in the order: path given, Homebrew, the Python on the PATH, the system's package, a wheel in .venv.
find_torch() {
  step "LibTorch"
  if [ -n "$TORCH_GIVEN" ]; then
    is_libtorch "$TORCH_GIVEN" || die "--torch $TORCH_GIVEN: no LibTorch there (include/ATen/ATen.h is missing)"
    take "$(cd "$TORCH_GIVEN" && pwd)" "the path given"
    return
  fi
  local prefix prefixes=() python found
  IFS=: read -r -a prefixes <<<"${CMAKE_PREFIX_PATH:-}"
  for prefix in ${prefixes[@]+"${prefixes[@]}"}; do
    if is_libtorch "$prefix"; then
      take "$prefix" "CMAKE_PREFIX_PATH"
      return
    fi
  done
  if have brew && prefix=$(brew --prefix --installed pytorch 2>/dev/null) && is_libtorch "$prefix"; then
    take "$prefix" "Homebrew's pytorch"
    return
  fi
  for python in python3 python; do
    if have $python && found=$(python_torch $python); then
      take "${found#* }" "Python on the PATH, torch ${found%% *}"
      return
    fi
  done
  find_system_torch || find_venv_torch
}

find_system_torch() {
  have apt-get || return 1
  local version
  version=$(apt-cache policy libtorch-dev 2>/dev/null | awk '$1 == "Candidate:" { print $2 }')
  case $version in [0-9]*) ;; *) return 1 ;; esac
  if ! at_least "$version" 2.6; then
    say "passed over: the system's libtorch-dev $version, older than 2.6"
    return 1
  fi
  # Debian's LibTorch calls whatever BLAS the system has; the one installed by default is the slow reference.
  local missing
  missing=$(missing_debian_packages libtorch-dev libopenblas0-openmp)
  if [ -n "$missing" ]; then
    say "to install: $missing"
    # shellcheck disable=SC2086
    apt_install $missing
  fi
  take /usr "the system's libtorch-dev $version"
}

find_venv_torch() {
  local found
  make_venv
  if ! found=$(python_torch "$XINSLM_ROOT/.venv/bin/python"); then
    install_torch_wheel
    found=$(python_torch "$XINSLM_ROOT/.venv/bin/python") || 
      die "torch $TORCH_WHEEL was installed in .venv but does not load"
  fi
  take "${found#* }" "the wheel torch ${found%% *} in .venv"
}

make_venv() {
  local venv=$XINSLM_ROOT/.venv python=python3
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return
  if [ "$(uname)" = Darwin ]; then  # Apple's own python3 is too old for the wheel
    brew list --formula python@3.13 >/dev/null 2>&1 || brew install python@3.13 >&2 </dev/null ||
      die "brew could not install python@3.13"
    python=$(brew --prefix python@3.13)/bin/python3.13
  fi
  have "$python" || die "no python3 to make .venv with; it is needed to fetch LibTorch (not to run xinslm)"
  "$python" -m venv "$venv" >&2 || die "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"
}

# pip_install PACKAGE...: into .venv.
pip_install() {
  "$XINSLM_ROOT/.venv/bin/python" -m pip install --progress-bar off --disable-pip-version-check "$@" >&2 </dev/null
}

install_torch_wheel() {
  local python=$XINSLM_ROOT/.venv/bin/python
  if [ "$(uname)" = Linux ]; then
    if "$python" -c "import urllib.request; urllib.request.urlopen('$TORCH_CPU_INDEX/torch/', timeout=10)" 2>/dev/null; then
      say "fetching torch $TORCH_WHEEL from PyTorch's CPU index (about 200 MB)"
      pip_install --index-url "$TORCH_CPU_INDEX" "torch==$TORCH_WHEEL" && return
    fi
    say "PyTorch's own CPU index does not answer, so torch $TORCH_WHEEL comes from pip's usual index."
    say "On Linux that may be the CUDA build: a download of several gigabytes. It works without a GPU; to avoid it,"
    say "stop now and give a LibTorch of your own with --torch DIR."
  else
    say "fetching torch $TORCH_WHEEL (about 110 MB)"
  fi
  pip_install "torch==$TORCH_WHEEL" || die "pip could not install torch $TORCH_WHEEL; give a LibTorch with --torch DIR" \
    "(on a Mac with an Intel processor: brew install pytorch)"
}

# ---- build

# Configures build/release; from scratch when LibTorch is another one than the last time. configure [CMAKE OPTIONS...]
configure() {
  step "Configure"
  local cache=$XINSLM_ROOT/build/release/CMakeCache.txt fresh=
  if [ -f "$cache" ] && ! grep -qxF "CMAKE_PREFIX_PATH:UNINITIALIZED=$TORCH_PREFIX" "$cache" &&
    ! grep -qxF "CMAKE_PREFIX_PATH:PATH=$TORCH_PREFIX" "$cache"; then
    fresh=--fresh
  fi
  (cd "$XINSLM_ROOT" && cmake $fresh --preset release "-DCMAKE_PREFIX_PATH:PATH=$TORCH_PREFIX" "$@") >&2 ||
    die "cmake could not configure"
}

# build [TARGET...]
build() {
  step "Build (the first time takes a few minutes)"
  local target arguments=()
  for target in "$@"; do arguments+=(--target "$target"); done
  (cd "$XINSLM_ROOT" && cmake --build --preset release ${arguments[@]+"${arguments[@]}"}) >&2 || die "the build failed"
}
