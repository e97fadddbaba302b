# Builds for macOS 14 on Apple silicon from Linux; scripts/check_macos.sh makes the folder that XINSLM_MACOS names:
# bin (compiler and its tools), torch (LibTorch's wheel), prefix (what macOS' own libraries offer), sources.
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_VERSION 23.0)
set(CMAKE_SYSTEM_PROCESSOR arm64)
set(CMAKE_USER_MAKE_RULES_OVERRIDE ${CMAKE_CURRENT_LIST_DIR}/macos-rules.cmake)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES XINSLM_MACOS)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # the first link builds the C++ library, which takes minutes

set(CMAKE_CXX_COMPILER ${XINSLM_MACOS}/bin/c++)
set(CMAKE_AR ${XINSLM_MACOS}/bin/ar)
set(CMAKE_RANLIB ${XINSLM_MACOS}/bin/ranlib)

set(CMAKE_FIND_ROOT_PATH ${XINSLM_MACOS}/torch ${XINSLM_MACOS}/prefix)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
