# Writes OUTPUT, a C++ file that holds every Metal library of FOLDER as text, common.metal and what it includes in front.
cmake_minimum_required(VERSION 3.25)
file(GLOB files ${FOLDER}/*.metal)
list(FILTER files EXCLUDE REGEX "/common.metal$")
file(READ ${FOLDER}/common.metal common)
set(entries)
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  set(before "#line 1 \"common.metal\"\n${common}\n")
  while(text MATCHES "#include \"([^\"\n]+)\"")
    set(header ${CMAKE_MATCH_1})
    string(REPLACE "#include \"${header}\"" "" text "${text}")
    file(READ ${FOLDER}/${header} included)
    string(APPEND before "#line 1 \"${header}\"\n${included}\n")
  endwhile()
  string(APPEND entries "    {\"${name}\", R\"metal(${before}#line 1 \"${name}.metal\"\n${text})metal\"},\n")
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
