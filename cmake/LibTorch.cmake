# Defines xinslm::libtorch from the LibTorch in a Python wheel, in Homebrew, in a system package or in the plain archive,
# and LIBTORCH_VERSION, LIBTORCH_FOLDER (its libraries). CMAKE_PREFIX_PATH or Torch_DIR say where to look first;
# torch.utils.cmake_prefix_path, its parent folder and the folder of TorchConfig.cmake are all understood.
#
# LibTorch's own package file is not used: for a CUDA build it demands the CUDA toolkit, which running it does not need.
if(TARGET xinslm::libtorch)
  return()
endif()

set(libtorch_hints)
string(REPLACE ":" ";" libtorch_prefixes "$ENV{CMAKE_PREFIX_PATH}")
foreach(prefix IN LISTS CMAKE_PREFIX_PATH libtorch_prefixes Torch_DIR)
  string(REGEX REPLACE "/share/cmake(/Torch)?/?$" "" prefix "${prefix}")
  list(APPEND libtorch_hints ${prefix})
endforeach()

find_path(LIBTORCH_INCLUDE_DIR ATen/ATen.h HINTS ${libtorch_hints} PATH_SUFFIXES include
          DOC "Folder of LibTorch's headers")
get_filename_component(LIBTORCH_PREFIX "${LIBTORCH_INCLUDE_DIR}" DIRECTORY)
find_library(LIBTORCH_CPU_LIBRARY torch_cpu HINTS ${LIBTORCH_PREFIX} PATH_SUFFIXES lib DOC "LibTorch's CPU library")
find_library(LIBTORCH_C10_LIBRARY c10 HINTS ${LIBTORCH_PREFIX} PATH_SUFFIXES lib DOC "LibTorch's base library")
if(NOT LIBTORCH_INCLUDE_DIR OR NOT LIBTORCH_CPU_LIBRARY OR NOT LIBTORCH_C10_LIBRARY)
  message(FATAL_ERROR "No LibTorch found. scripts/test.sh gets one; or give yours: "
                      "-DCMAKE_PREFIX_PATH=$(python3 -c 'import torch; print(torch.utils.cmake_prefix_path)')")
endif()
get_filename_component(LIBTORCH_FOLDER "${LIBTORCH_CPU_LIBRARY}" DIRECTORY)
find_library(LIBTORCH_CUDA_LIBRARY torch_cuda HINTS ${LIBTORCH_FOLDER} NO_DEFAULT_PATH DOC "LibTorch's CUDA library")

set(LIBTORCH_VERSION 0)
foreach(header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(LIBTORCH_VERSION EQUAL 0 AND EXISTS ${LIBTORCH_INCLUDE_DIR}/${header})
    file(READ ${LIBTORCH_INCLUDE_DIR}/${header} libtorch_header)
    if(libtorch_header MATCHES "TORCH_VERSION_MAJOR ([0-9]+).*TORCH_VERSION_MINOR ([0-9]+).*TORCH_VERSION_PATCH ([0-9]+)")
      set(LIBTORCH_VERSION ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3})
    endif()
  endif()
endforeach()
if(LIBTORCH_VERSION VERSION_LESS 2.6)
  message(FATAL_ERROR "LibTorch ${LIBTORCH_VERSION} in ${LIBTORCH_FOLDER} is too old; 2.6 or newer is needed "
                      "(scripts/test.sh gets one)")
endif()

add_library(xinslm::libtorch INTERFACE IMPORTED)
target_include_directories(xinslm::libtorch SYSTEM INTERFACE ${LIBTORCH_INCLUDE_DIR}
                                                             ${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include)
target_link_libraries(xinslm::libtorch INTERFACE ${LIBTORCH_CPU_LIBRARY} ${LIBTORCH_C10_LIBRARY})
if(LIBTORCH_CUDA_LIBRARY)  # registers the CUDA device by being loaded; nothing in it is called by name
  target_link_libraries(xinslm::libtorch INTERFACE "-Wl,--no-as-needed,${LIBTORCH_CUDA_LIBRARY},--as-needed")
endif()
