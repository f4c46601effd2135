# Helpers that every folder uses. One precompiled header of the MLIR headers serves all libraries and tools.

# Where compiled files differ only by the checkout's place, ccache shares them.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 CCACHE_PCH_EXTSUM=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

set(MEGACTX_CXX_FLAGS -Wall -Wextra -Wno-unused-parameter -fno-rtti -fno-exceptions)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  list(APPEND MEGACTX_CXX_FLAGS "SHELL:-Xclang -fno-pch-timestamp")
endif()

# The header goes by its name, not its path, and targets name the precompiled file alone: what ccache is given is then
# the same in every checkout. The file itself holds paths, so each checkout makes its own, and the sum stands for it.
add_library(megactx-pch OBJECT ${PROJECT_SOURCE_DIR}/cmake/Precompiled.cpp)
target_include_directories(megactx-pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake)
target_precompile_headers(megactx-pch PRIVATE <Precompiled.h>)
target_compile_options(megactx-pch PRIVATE ${MEGACTX_CXX_FLAGS})
set_target_properties(megactx-pch PROPERTIES CXX_COMPILER_LAUNCHER "")
set(MEGACTX_PCH ${PROJECT_BINARY_DIR}/CMakeFiles/megactx-pch.dir/cmake_pch.hxx.pch)
file(SHA256 ${PROJECT_SOURCE_DIR}/cmake/Precompiled.h precompiled_sum)
file(WRITE ${MEGACTX_PCH}.sum "${precompiled_sum} ${LLVM_PACKAGE_VERSION}\n")
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/Precompiled.h)

function(_megactx_target name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  target_compile_options(${name} PRIVATE ${MEGACTX_CXX_FLAGS})
  target_compile_options(${name} PRIVATE "SHELL:-include-pch ${MEGACTX_PCH}")
  get_target_property(sources ${name} SOURCES)
  set_source_files_properties(${sources} PROPERTIES OBJECT_DEPENDS ${MEGACTX_PCH})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} MLIR LLVM)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# megactx_add_library(MegaCtxX a.cpp b.cpp DEPENDS tablegen-targets LINK libraries)
# A static library against the shared MLIR and LLVM. Name no MLIRFoo archive under LINK.
function(megactx_add_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  _megactx_target(${name} DEPENDS ${ARG_DEPENDS} LINK ${ARG_LINK})
endfunction()

# Installed commands find libraries beside them; those that are not there, where the build found them.
set(CMAKE_INSTALL_RPATH "\$ORIGIN/../lib")
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
# The compiler links what it made for a CPU.
install(PROGRAMS ${LLVM_TOOLS_BINARY_DIR}/lld DESTINATION bin RENAME ld.lld)

# megactx_add_tool(megactx-x main.cpp LINK libraries): an executable in build/bin.
function(megactx_add_tool name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS} ${PROJECT_SOURCE_DIR}/tools/Version.cpp)
  target_compile_definitions(${name} PRIVATE MEGACTX_VERSION="${PROJECT_VERSION}")
  # The precompiled header is made with -fPIC, which -fPIE would contradict.
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  _megactx_target(${name} DEPENDS ${ARG_DEPENDS} LINK ${ARG_LINK})
  install(TARGETS ${name})
  set_property(GLOBAL APPEND PROPERTY MEGACTX_TOOLS ${name})
endfunction()

# megactx_add_unittest(XTests a.cpp LINK libraries): a GoogleTest program; check-megactx runs it.
function(megactx_add_unittest name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  _megactx_target(${name} DEPENDS ${ARG_DEPENDS} LINK ${ARG_LINK} GTest::gtest GTest::gtest_main)
  add_custom_target(check-${name} COMMAND ${name} --gtest_brief=1 DEPENDS ${name})
  add_dependencies(check-megactx check-${name})
endfunction()
