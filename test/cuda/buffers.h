// Memory of the emulated device, for tests.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace humanizer::cuda {

// A call of the tests' own that must succeed.
inline void expect(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "a call of the test answers %s\n", cudaGetErrorName(status));
  std::abort();
}

template <class T>
class Device {
 public:
  explicit Device(size_t count) : count_(count) { expect(cudaMalloc(&data_, count * sizeof(T))); }
  explicit Device(const std::vector<T>& values) : Device(values.size()) {
    expect(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Device() { cudaFree(data_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> values(count_);
    expect(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  size_t count_;
  T* data_ = nullptr;
};

template <class T>
class Pinned {
 public:
  explicit Pinned(size_t count, T value = {}) : count_(count) {
    expect(cudaMallocHost(&data_, count * sizeof(T)));
    for (size_t i = 0; i < count; ++i) data_[i] = value;
  }
  ~Pinned() { cudaFreeHost(data_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  T* data() const { return data_; }
  T& operator[](size_t at) const { return data_[at]; }

 private:
  size_t count_;
  T* data_ = nullptr;
};

class Stream {
 public:
  Stream() { expect(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }
  void wait() const { expect(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { expect(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace humanizer::cuda
