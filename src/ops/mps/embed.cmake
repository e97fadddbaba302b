# Writes OUTPUT, a C++ file that holds every Metal library of FOLDER as text, common.metal and the headers that it includes
# in front: Metal looks for no files.
cmake_minimum_required(VERSION 3.25)
file(GLOB files ${FOLDER}/*.metal)
list(FILTER files EXCLUDE REGEX "/common.metal$")
file(READ ${FOLDER}/common.metal common)
set(entries)
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  set(headers)
  while("${headers}${text}" MATCHES "#include \"([^\"\n]+)\"")
    set(header ${CMAKE_MATCH_1})
    string(REPLACE "#include \"${header}\"" "" headers "${headers}")
    string(REPLACE "#include \"${header}\"" "" text "${text}")
    file(READ ${FOLDER}/${header} included)
    string(PREPEND headers "#line 1 \"${header}\"\n${included}\n")
  endwhile()
  string(APPEND entries "    {\"${name}\", R\"metal(#line 1 \"common.metal\"\n${common}\n${headers}"
                        "#line 1 \"${name}.metal\"\n${text})metal\"},\n")
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
