# The native engine: for the CPU, with the CUDA kernels, with sanitizers. Included by the Makefile.
CUDA_SOURCES := $(wildcard trainer-image/native/*.cu trainer-image/native/*.cuh test/cuda/* test/cuda/*/*)
NATIVE_SOURCES := $(wildcard trainer-image/native/*.cc trainer-image/native/*.h test/parity/*.cc test/parity/*.h) \
  trainer-image/native/CMakeLists.txt test/bench/matmul_peak.cc $(CUDA_SOURCES)
SANITIZED := parity_ops engine_faults engine_fuzz

build/native/trainer_native.node: $(NATIVE_SOURCES) | $(DEPS)
	@test/cluster/packages.sh engine
	@mkdir -p build/native && (cmake -S trainer-image/native -B build/native -DCMAKE_BUILD_TYPE=Release -DHUMANIZER_CUDA_OBJECTS= && \
	  cmake --build build/native -j"$$(nproc)") >build/native.log 2>&1 || { tail -30 build/native.log; echo "see build/native.log"; exit 1; }
	@touch $@

native: build/native/trainer_native.node ## Compile the native engine
native-cuda: build/cuda/trainer_native.node ## Compile it with the CUDA kernels

# In the folder of the engine for the CPU, whose objects it takes. The kernels' programs are made when they are asked for, by no `make native`.
build/cuda/trainer_native.node: $(NATIVE_SOURCES) | $(DEPS)
	@test/cluster/packages.sh engine
	@mkdir -p build/cuda build/native && objects=$$(node test/cuda/compile.ts | paste -sd';') && cublas=$$(test/cuda/cublas.sh) && \
	  (cmake -S trainer-image/native -B build/native -DHUMANIZER_CUDA_OBJECTS="$$objects" -DHUMANIZER_CUDA_HOME="$$(test/cuda/toolkit.sh)" \
	  -DHUMANIZER_CUBLAS_HOME="$$cublas" -DHUMANIZER_CUDA_OUTPUT="$(CURDIR)/build/cuda" && ln -sf "$$cublas"/lib/libcublasLt.so.13 build/cuda/ && \
	  cmake --build build/native -j"$$(nproc)" --target trainer_native_cuda) >build/cuda.log 2>&1 || \
	  { tail -30 build/cuda.log; echo "see build/cuda.log"; exit 1; }
	@touch $@

device-ops: build/cuda/trainer_native.node # the kernels' cases for a GPU: test/gpu
	@cmake --build build/native -j"$$(nproc)" --target device_ops >build/device-ops.log 2>&1 || { tail -30 build/device-ops.log; echo "see build/device-ops.log"; exit 1; }

build/sanitized/built: $(NATIVE_SOURCES) | $(DEPS)
	@mkdir -p build/sanitized && (cmake -S trainer-image/native -B build/sanitized -DHUMANIZER_SANITIZE=address,undefined && \
	  cmake --build build/sanitized -j"$$(nproc)" --target $(SANITIZED)) >build/sanitized.log 2>&1 || { tail -30 build/sanitized.log; echo "see build/sanitized.log"; exit 1; }
	@touch $@

sanitized: build/sanitized/built ## Compile the engine's test programs with sanitizers

.PHONY: native native-cuda device-ops sanitized
