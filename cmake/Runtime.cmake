# The runtime and megactx-run alone. ONNX's messages are made of its .proto, which its Python package has, beside the
# header that includes them: ONNX_PROTO_DIR is where onnx/onnx-ml.proto is.
find_path(ONNX_PROTO_DIR onnx/onnx-ml.proto REQUIRED)
set(messages ${PROJECT_BINARY_DIR}/include/onnx/onnx-ml.pb)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include)
add_custom_command(OUTPUT ${messages}.cc ${messages}.h DEPENDS ${ONNX_PROTO_DIR}/onnx/onnx-ml.proto VERBATIM
  COMMAND protobuf::protoc --proto_path=${ONNX_PROTO_DIR} --cpp_out=${PROJECT_BINARY_DIR}/include onnx/onnx-ml.proto)
add_library(onnx STATIC ${messages}.cc ${messages}.h)
add_library(ONNX::onnx ALIAS onnx)
target_compile_definitions(onnx PUBLIC ONNX_ML=1 ONNX_NAMESPACE=onnx)
target_include_directories(onnx SYSTEM PUBLIC ${PROJECT_BINARY_DIR}/include ${ONNX_PROTO_DIR})
target_link_libraries(onnx PUBLIC protobuf::libprotobuf)

add_subdirectory(lib/Runtime)
add_subdirectory(tools/megactx-run)
