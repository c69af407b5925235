# device_ops: the kernels' cases of test/cuda, compiled by NVIDIA's compiler, with the kernels for a GPU.
file(GLOB cases CONFIGURE_DEPENDS ${tests}/cuda/ops*.cu)
file(GLOB headers CONFIGURE_DEPENDS ${tests}/cuda/*.h ${tests}/gpu/device/emulator/*.h ${CMAKE_CURRENT_SOURCE_DIR}/*.h ${CMAKE_CURRENT_SOURCE_DIR}/*.cuh)
foreach(case ${cases})
  cmake_path(GET case STEM name)
  # They have no kernel of their own: one architecture, and what it gets is never run.
  add_custom_command(OUTPUT ${name}.device.o DEPENDS ${case} ${headers} VERBATIM
    COMMAND ${HUMANIZER_CUDA_HOME}/bin/nvcc -std=c++20 -O1 -arch=sm_80 -I ${tests}/gpu/device -I ${CMAKE_CURRENT_SOURCE_DIR} -c ${case} -o ${name}.device.o)
  list(APPEND objects ${CMAKE_CURRENT_BINARY_DIR}/${name}.device.o)
endforeach()
add_executable(device_ops ${tests}/cuda/ops.cc ${objects})
target_link_libraries(device_ops PRIVATE ${engine})
with_cuda(device_ops)
