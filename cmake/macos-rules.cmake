# What CMake 3.25 leaves out when it cannot ask a Mac for its version: that the linker takes rpaths.
set(CMAKE_SHARED_LIBRARY_RUNTIME_C_FLAG "-Wl,-rpath,")
