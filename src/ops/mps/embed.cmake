# Writes OUTPUT, a C++ file that holds every Metal library of FOLDER as text, common.metal in front of each.
cmake_minimum_required(VERSION 3.25)
file(GLOB files ${FOLDER}/*.metal)
list(FILTER files EXCLUDE REGEX "/common.metal$")
file(READ ${FOLDER}/common.metal common)
set(entries)
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(APPEND entries
         "    {\"${name}\", R\"metal(#line 1 \"common.metal\"\n${common}\n#line 1 \"${name}.metal\"\n${text})metal\"},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"ops/mps/sources.h\"

namespace xinslm::mps {

const std::map<std::string_view, const char*>& metal_sources() {
  static const std::map<std::string_view, const char*> sources = {
${entries}  };
  return sources;
}

}  // namespace xinslm::mps
")
