# The libraries that Homebrew has on a Mac, for a build from Linux: find_package and pkg_check_modules find them in
# XINSLM_MACOS/sources, one folder a library, and build them within the project. Given to CMake as
# CMAKE_PROJECT_TOP_LEVEL_INCLUDES by scripts/check_macos.sh.
set(XINSLM_MACOS_SOURCES ${XINSLM_MACOS}/sources)

# macos_library(NAME [INCLUDE FOLDER...] [DEFINE NAME...] [GLOB PATTERN...] [EXCLUDE REGEX]): the library NAME, of
# headers alone without GLOB; folders and patterns lie below XINSLM_MACOS/sources.
function(macos_library name)
  cmake_parse_arguments(PARSE_ARGV 1 of "" EXCLUDE "INCLUDE;DEFINE;GLOB")
  list(TRANSFORM of_INCLUDE PREPEND ${XINSLM_MACOS_SOURCES}/)
  list(TRANSFORM of_GLOB PREPEND ${XINSLM_MACOS_SOURCES}/)
  string(REPLACE "::" "_" target macos_${name})
  if(of_GLOB)
    file(GLOB sources ${of_GLOB})
    if(of_EXCLUDE)
      list(FILTER sources EXCLUDE REGEX ${of_EXCLUDE})
    endif()
    add_library(${target} STATIC ${sources})
    set_target_properties(${target} PROPERTIES CXX_STANDARD 17)
    target_compile_options(${target} PRIVATE -w)
    set(scope PUBLIC)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} SYSTEM ${scope} ${of_INCLUDE})
  target_compile_definitions(${target} ${scope} ${of_DEFINE})
  add_library(${name} ALIAS ${target})
endfunction()

macos_library(CLI11::CLI11 INCLUDE cli11/include)
macos_library(nlohmann_json::nlohmann_json INCLUDE nlohmann-json3/include)
macos_library(spdlog::spdlog INCLUDE spdlog/include fmtlib/include DEFINE SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY)
macos_library(yaml-cpp::yaml-cpp INCLUDE yaml-cpp/include GLOB yaml-cpp/src/*.cpp)
macos_library(GTest::gtest_main INCLUDE googletest/googletest/include googletest/googletest
              GLOB googletest/googletest/src/gtest-all.cc googletest/googletest/src/gtest_main.cc)
configure_file(${XINSLM_MACOS_SOURCES}/sentencepiece/config.h.in ${XINSLM_MACOS_SOURCES}/sentencepiece/config.h)
macos_library(PkgConfig::sentencepiece
              INCLUDE sentencepiece sentencepiece/src sentencepiece/src/builtin_pb sentencepiece/third_party
                      sentencepiece/third_party/protobuf-lite
              DEFINE HAVE_PTHREAD=1
              GLOB sentencepiece/src/*.cc sentencepiece/src/builtin_pb/*.cc sentencepiece/third_party/absl/flags/flag.cc
                   sentencepiece/third_party/absl/strings/*.cc sentencepiece/third_party/protobuf-lite/*.cc
              EXCLUDE "_test\\.cc$|_main\\.cc$|testharness\\.cc$")

macro(macos_provide method package)
  if("${package}" MATCHES "^(CLI11|nlohmann_json|spdlog|yaml-cpp|GTest|PkgConfig)$")
    set(${package}_FOUND TRUE)
  endif()
endmacro()
cmake_language(SET_DEPENDENCY_PROVIDER macos_provide SUPPORTED_METHODS FIND_PACKAGE)

function(pkg_check_modules)  # of FindPkgConfig: PkgConfig::sentencepiece is there already
endfunction()
