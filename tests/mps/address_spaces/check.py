"""check.py CLANG FOLDER: has clang check the address spaces in the Metal libraries of a folder.

Metal is clang's C++ with address spaces, and so can plain C++ be: metal_stdlib beside this file makes Metal's words
attributes. Two things have to be written otherwise for that: arrays in threadgroup memory, which C++ has no storage for,
become references, and vectors are made by a function template.
"""
import pathlib
import re
import subprocess
import sys

FLAGS = ["-target", "arm64-apple-macosx14.0", "-x", "c++", "-std=c++14", "-nostdinc", "-w", "-fsyntax-only"]


def with_includes(path, seen):
    """The text of a file with the headers of its folder in place, each once."""
    def included(found):
        if found[1] in seen:
            return ""
        seen.add(found[1])
        return with_includes(path.parent / found[1], seen) + f'\n#line 1 "{path}"\n'
    return f'#line 1 "{path}"\n' + re.sub(r'#include "([^"]+)"', included, path.read_text())


def array_as_reference(found):
    kind, name, sizes = found.groups()
    return f"threadgroup {kind} (&{name}){sizes} = *(threadgroup {kind} (*){sizes})0;"


def as_cpp(folder, path):
    text = (folder / "common.metal").read_text() + "\n" + with_includes(path, set())
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r"\bthreadgroup\s+([A-Za-z_][\w:<>, ]*?)\s+([A-Za-z_]\w*)\s*((?:\[[^;]*\])?)\s*;", array_as_reference, text)
    text = re.sub(r"\bvec<(\w+), ?(\d)>\(", r"make_vec<\1, \2>(", text)
    return re.sub(r"\b(float|half|u?(?:char|short|int|long))([234])\(", r"make_vec<\1, \2>(", text)


def main():
    clang, folder = sys.argv[1:-1], pathlib.Path(sys.argv[-1])
    include = ["-isystem", str(pathlib.Path(__file__).parent)]
    libraries = sorted(path for path in folder.glob("*.metal") if path.name != "common.metal")
    failed = [path.name for path in libraries
              if subprocess.run(clang + FLAGS + include + ["-"], input=as_cpp(folder, path), text=True).returncode]
    print(f"{len(libraries)} libraries, {len(failed)} with mistakes", *failed)
    sys.exit(bool(failed) or not libraries)


main()
