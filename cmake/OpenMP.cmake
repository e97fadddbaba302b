# Defines xinslm_openmp: the compiler flags and the one OpenMP runtime of the process, LibTorch's own where it brings one.
# Two runtimes would mean two pools of threads that fight for the cores.
add_library(xinslm_openmp INTERFACE)
if(APPLE)
  # Apple's compiler knows OpenMP but ships neither header nor runtime: LibTorch's wheel or Homebrew's libomp has them.
  set(homebrew_libomp /opt/homebrew/opt/libomp /usr/local/opt/libomp)
  find_path(OPENMP_INCLUDE_DIR omp.h HINTS ${LIBTORCH_INCLUDE_DIR} ${homebrew_libomp} PATH_SUFFIXES include)
  find_library(OPENMP_LIBRARY omp HINTS ${LIBTORCH_FOLDER} ${homebrew_libomp} PATH_SUFFIXES lib)
  if(NOT OPENMP_INCLUDE_DIR OR NOT OPENMP_LIBRARY)
    message(FATAL_ERROR "No OpenMP runtime found; brew install libomp")
  endif()
  target_compile_options(xinslm_openmp INTERFACE -Xclang -fopenmp)
  target_include_directories(xinslm_openmp SYSTEM INTERFACE ${OPENMP_INCLUDE_DIR})
  get_filename_component(openmp_folder ${OPENMP_LIBRARY} DIRECTORY)
  if(openmp_folder STREQUAL LIBTORCH_FOLDER)
    # The wheel's runtime calls itself by a place on the machine that built it, and a program linked to it would look for
    # it there. Linked to this stub it looks beside LibTorch, on its rpath, as LibTorch does.
    file(STRINGS ${OPENMP_LIBRARY} openmp_names REGEX "^_(omp|__kmpc)_[a-z0-9_]+$")
    list(JOIN openmp_names ", " openmp_names)
    set(OPENMP_LIBRARY ${PROJECT_BINARY_DIR}/openmp/libomp.tbd)
    file(WRITE ${OPENMP_LIBRARY} "--- !tapi-tbd\ntbd-version: 4\ntargets: [ arm64-macos ]\n"
         "install-name: '@rpath/libomp.dylib'\n"
         "exports:\n  - targets: [ arm64-macos ]\n    symbols: [ ${openmp_names} ]\n...\n")
  endif()
  target_link_libraries(xinslm_openmp INTERFACE ${OPENMP_LIBRARY})
else()
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  file(GLOB libtorch_openmp ${LIBTORCH_FOLDER}/libgomp*.so.1)  # the name holds a hash in some wheels
  if(libtorch_openmp)
    list(GET libtorch_openmp 0 libtorch_openmp)
    target_compile_options(xinslm_openmp INTERFACE ${OpenMP_CXX_FLAGS})
    target_link_libraries(xinslm_openmp INTERFACE ${libtorch_openmp})
  else()
    target_link_libraries(xinslm_openmp INTERFACE OpenMP::OpenMP_CXX)
  endif()
endif()
