#!/usr/bin/env bash
# Compiles and links the program and its tests for macOS 14 on Apple silicon, on Linux, against the LibTorch of the
# Mac's Python wheel: every missing symbol, include and instruction shows without a Mac. The result cannot be run here.
#
# The compiler is the clang 17 of PyPI's ziglang, with its libc++: those of Xcode 16. LibTorch and the OpenMP runtime
# are the Mac's own; other libraries are built from Debian's or Ubuntu's source packages, except libedit and zlib, which
# are part of macOS: of them only headers and the names they export are needed.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

usage() {
  cat <<'TEXT'
scripts/check_macos.sh [--sources] [--zig VERSION] [--folder DIR] [--jobs N]
  --sources     only compile the sources that are other ones on a Mac: NEON kernels, Metal, #ifdef __APPLE__
  --zig VERSION the compiler: 0.12.1 (default) is as old as Xcode 16; a new one shows what the next Xcode will say
  --folder DIR  where downloads and objects are kept (default: build/macos)
  --jobs N      compilers at a time (default: 2)
TEXT
}

zig_version=0.12.1
SOURCE_PACKAGES="cli11 fmtlib googletest libedit nlohmann-json3 sentencepiece spdlog yaml-cpp zlib"
folder=$XINSLM_ROOT/build/macos sources_only=false jobs=2
while [ $# -gt 0 ]; do
  case $1 in
    --sources) sources_only=true; shift ;;
    --zig) zig_version=${2:?--zig needs a version}; shift 2 ;;
    --folder) folder=${2:?--folder needs a folder}; shift 2 ;;
    --jobs) jobs=${2:?--jobs needs a number}; shift 2 ;;
    --help) usage; exit 0 ;;
    *) echo "check_macos.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done

# once NAME COMMAND...: runs the command unless an earlier run in this folder has; its results depend on the name alone.
once() {
  local done_file=$folder/done/$1
  shift
  [ -e "$done_file" ] && return
  "$@"
  touch "$done_file"
}

get_compiler() {
  rm -rf "$folder/zig" "$folder/done"/zig-* "$folder/build"
  pip_install --no-deps --target "$folder/zig" "ziglang==$zig_version" ||
    die "pip could not install ziglang $zig_version, the cross compiler"
}

# The Mac's wheel, without its Python parts.
get_torch() {
  local wheels=$folder/wheels
  rm -rf "$wheels" "$folder/torch"
  "$XINSLM_ROOT/.venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$wheels" \
    --only-binary=:all: --platform macosx_14_0_arm64 --python-version 3.11 --implementation cp \
    "torch==$TORCH_WHEEL" >&2 </dev/null || die "pip could not download torch $TORCH_WHEEL for macosx_14_0_arm64"
  "$XINSLM_ROOT/.venv/bin/python" - "$wheels"/torch-*.whl "$folder" <<'PYTHON'
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith(("torch/include/", "torch/lib/"))])
PYTHON
  rm -r "$wheels"
}

# What Debian changed in a source package, unpacked in a folder.
apply_patches() {
  local patch
  [ -f "$1/debian/patches/series" ] || return 0
  grep -v '^#' "$1/debian/patches/series" | while read -r patch; do
    [ -z "$patch" ] || patch --strip=1 --silent --force --directory "$1" <"$1/debian/patches/$patch" ||
      die "$1: Debian's $patch does not apply"
  done
}

# Unpacks the source packages of this system's own suites; apt's settings and lists stay as they are.
get_sources() {
  have apt-get || die "the libraries come from Debian's or Ubuntu's source packages; this system has no apt-get"
  local apt=$folder/apt package archive
  rm -rf "$apt" "$folder/sources" "$folder/build"  # files out of an archive are older than what an earlier one became
  mkdir -p "$apt/lists/partial" "$apt/parts" "$apt/packages" "$folder/sources"
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk '!seen[$0]++' | while read -r origin uri release component; do
      origin=$(printf %s "$origin" | tr '[:upper:]' '[:lower:]')
      case $origin in
        debian | ubuntu)
          echo "deb-src [signed-by=/usr/share/keyrings/$origin-archive-keyring.gpg] $uri $release $component" ;;
      esac
    done >"$apt/parts/sources.list"
  [ -s "$apt/parts/sources.list" ] || die "apt knows no packages of Debian or Ubuntu; run: apt-get update"
  local options=(-qq -o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$apt/parts"
    -o "Dir::State::Lists=$apt/lists" -o "APT::Sandbox::User=root")
  apt-get "${options[@]}" update >&2 || die "apt-get could not read the lists of source packages"
  # shellcheck disable=SC2086
  (cd "$apt/packages" && apt-get "${options[@]}" source --download-only $SOURCE_PACKAGES >&2) ||
    die "apt-get could not download the sources of: $SOURCE_PACKAGES"
  for package in $SOURCE_PACKAGES; do
    mkdir "$folder/sources/$package"
    for archive in "$apt/packages/${package}"_*.orig.tar.*[!c]; do  # not its signature, .asc
      tar -xf "$archive" -C "$folder/sources/$package" --strip-components=1
    done
    tar -xf "$apt/packages/${package}"_*.debian.tar.* -C "$folder/sources/$package"
    apply_patches "$folder/sources/$package"
  done
  rm -r "$apt"
}

# What a Mac's linker reads of a library of the system: its place and the names it exports. stub NAME PLACE PACKAGE
stub() {
  local names
  names=$(sed -n 's/^ \([A-Za-z_0-9]*\)@.*/_\1/p' "$folder/sources/$3/debian"/*.symbols | sort -u | paste -sd, -)
  cat >"$folder/prefix/lib/lib$1.tbd" <<TEXT
--- !tapi-tbd
tbd-version: 4
targets: [ arm64-macos ]
install-name: '$2'
exports:
  - targets: [ arm64-macos ]
    symbols: [ $names ]
...
TEXT
}

make_system_libraries() {
  mkdir -p "$folder/prefix/include" "$folder/prefix/lib"
  cp "$folder/sources/libedit/src/histedit.h" "$folder/sources/zlib/zlib.h" "$folder/sources/zlib/zconf.h" \
    "$folder/prefix/include/"
  stub edit /usr/lib/libedit.3.dylib libedit
  stub z /usr/lib/libz.1.dylib zlib
}

# The commands that cmake/macos-toolchain.cmake names. Compiling is clang's, so that flags mean what they mean on a Mac;
# linking is zig's, which has the linker and builds the C++ library once.
make_tools() {
  mkdir -p "$folder/bin"
  cat >"$folder/bin/c++" <<'TEXT'
#!/bin/sh
zig=${0%/*}/../zig/ziglang
system=$zig/lib/libc/include/any-darwin-any
[ -d "$system" ] || system=$zig/lib/libc/include/any-macos-any
for argument; do
  case $argument in
    -c | -E)
      exec "$zig/zig" clang -target arm64-apple-macosx14.0 --no-default-config -nostdinc \
        -D_LIBCPP_ABI_VERSION=1 -D_LIBCPP_ABI_NAMESPACE=__1 -D_LIBCPP_PSTL_CPU_BACKEND_SERIAL \
        -isystem "$zig/lib/libcxx/include" -isystem "$zig/lib/libcxxabi/include" -isystem "$zig/lib/include" \
        -isystem "$system" "$@" ;;
  esac
done
for argument; do
  shift
  [ "$argument" != -bundle ] || argument=-dynamiclib  # zig makes no bundles; dlopen takes a dynamic library as well
  set -- "$@" "$argument"
done
exec "$zig/zig" c++ -target aarch64-macos.14.0 "$@"
TEXT
  local tool
  for tool in ar ranlib; do
    printf '#!/bin/sh\nexec "${0%%/*}/../zig/ziglang/zig" %s "$@"\n' $tool >"$folder/bin/$tool"
  done
  chmod +x "$folder/bin"/*
}

configure_for_macos() {
  step "Configure"
  cmake -G Ninja -S "$XINSLM_ROOT" -B "$folder/build" \
    -DCMAKE_TOOLCHAIN_FILE="$XINSLM_ROOT/cmake/macos-toolchain.cmake" \
    -DCMAKE_PROJECT_TOP_LEVEL_INCLUDES="$XINSLM_ROOT/cmake/macos-libraries.cmake" -DXINSLM_MACOS="$folder" \
    -DCMAKE_PREFIX_PATH="$folder/torch" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O0 \
    -DXINSLM_TESTS=ON -DXINSLM_WERROR=ON >&2 || die "cmake could not configure for macOS"
}

# The sources that a Mac compiles otherwise than Linux on a PC, as targets of ninja; FILE^ is what comes of a file.
mac_targets() {
  printf '%s\n' xinslm_kernels_neon_dotprod xinslm_kernels_neon_i8mm
  (cd "$XINSLM_ROOT" && {
    grep -rlE '__APPLE__|__aarch64__|RTLD_' src --include='*.cpp'
    find src/ops/mps -name '*.cpp' 2>/dev/null || true
  }) | grep -v /isa/ | sort -u | sed "s|.*|$XINSLM_ROOT/&^|"
}

# Whether the linker minds at all: a program that calls what nobody has must not link.
expect_missing_symbol() {
  local source=$folder/missing.cpp
  echo 'void xinslm_missing(); int main() { xinslm_missing(); }' >"$source"
  "$folder/bin/c++" -c "$source" -o "$source.o"
  ! "$folder/bin/c++" "$source.o" -o "$folder/missing" 2>/dev/null || die "the linker accepts undefined symbols"
}

# Whether a Mac would find each library that what was built asks for: the system's, or a file on its own rpath.
check_libraries() {
  "$XINSLM_ROOT/.venv/bin/python" - "$@" >&2 <<'PYTHON' || die "libraries that were asked for are not there"
import os, struct, sys

LOAD_DYLIB, RPATH = 0xC, 0x8000001C  # loader.h of macOS


def commands(path):
    with open(path, "rb") as file:
        data = file.read()
    magic, count = struct.unpack_from("<I", data)[0], struct.unpack_from("<I", data, 16)[0]
    if magic != 0xFEEDFACF:
        sys.exit(f"{path}: not a 64-bit Mach-O file")
    at = 32
    for _ in range(count):
        command, size, text = struct.unpack_from("<3I", data, at)
        if command in (LOAD_DYLIB, RPATH):
            yield command, data[at + text : at + size].split(b"\0")[0].decode()
        at += size


missing = 0
for path in sys.argv[1:]:
    found = list(commands(path))
    folders = [name.replace("@loader_path", os.path.dirname(path)) for command, name in found if command == RPATH]
    for name in (name for command, name in found if command == LOAD_DYLIB):
        known = name.startswith(("/usr/lib/", "/System/Library/"))
        if name.startswith("@rpath/"):
            known = any(os.path.exists(os.path.join(folder, name[len("@rpath/") :])) for folder in folders)
        if not known:
            print(f"{path} asks for {name}")
            missing += 1
sys.exit(missing > 0)
PYTHON
}

for tool in cmake ninja python3 patch; do
  have $tool || die "$tool is missing; scripts/test.sh installs all but patch"
done
mkdir -p "$folder/done"
folder=$(cd "$folder" && pwd)
export ZIG_GLOBAL_CACHE_DIR=$folder/zig-cache ZIG_LOCAL_CACHE_DIR=$folder/zig-cache
export CCACHE_COMPILERTYPE=clang CCACHE_COMPILERCHECK=content
step "Compiler, LibTorch and libraries for macOS"
make_venv
once "zig-$zig_version" get_compiler
once "torch-$TORCH_WHEEL" get_torch
once "sources-of $SOURCE_PACKAGES" get_sources
make_system_libraries
make_tools
configure_for_macos
if $sources_only; then
  step "Compile what a Mac compiles otherwise"
  mac_targets | xargs ninja -C "$folder/build" -j "$jobs" -k 0 >&2 || die "the sources for macOS do not compile"
else
  step "Compile and link everything"
  expect_missing_symbol
  ninja -C "$folder/build" -j "$jobs" -k 0 >&2 || die "the program or its tests do not build for macOS"
  check_libraries "$folder/build"/xinslm "$folder/build"/*.dylib "$folder/build"/*.so "$folder/build"/tests/test_*
fi
say "done, for arm64 macOS 14 with LibTorch $TORCH_WHEEL"
