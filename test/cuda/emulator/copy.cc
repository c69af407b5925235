// Copies. An asynchronous one reads its source when its turn comes, not when it is asked for; until then the host finds
// poison in its target, and must not write into its source.
#include <cstring>
#include <memory>
#include <vector>

#include "capture.h"
#include "device.h"
#include "emulator.h"
#include "entry.h"
#include "failure.h"
#include "memory.h"
#include "stream.h"

using namespace emulated_cuda;

namespace {

struct Rectangle {
  char* to;
  size_t to_pitch;
  const char* from;
  size_t from_pitch, width, height;

  size_t to_bytes() const { return height == 0 ? 0 : (height - 1) * to_pitch + width; }
  size_t from_bytes() const { return height == 0 ? 0 : (height - 1) * from_pitch + width; }
  void copy() const {
    for (size_t row = 0; row < height; ++row) std::memmove(to + row * to_pitch, from + row * from_pitch, width);
  }
  void poison() const {
    for (size_t row = 0; row < height; ++row) fill_poison(to + row * to_pitch, width);
  }
  // FNV-1a of the source.
  uint64_t fingerprint() const {
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t row = 0; row < height; ++row)
      for (size_t i = 0; i < width; ++i)
        hash = (hash ^ static_cast<unsigned char>(from[row * from_pitch + i])) * 0x100000001b3ull;
    return hash;
  }
};

// Targets on the host of copies that are pending.
std::vector<const Rectangle*> arriving;

bool is_arriving(const char* from, size_t bytes) {
  for (const Rectangle* other : arriving)
    if (from < other->to + other->to_bytes() && other->to < from + bytes) return true;
  return false;
}

// Sources on the host of copies that are pending: no poison for those that come after, of whom one may write there.
std::vector<const Rectangle*> leaving;

bool is_leaving(const char* to, size_t bytes) {
  for (const Rectangle* other : leaving)
    if (to < other->from + other->from_bytes() && other->from < to + bytes) return true;
  return false;
}

void expect_sides(const Rectangle& copy, cudaMemcpyKind kind, bool asynchronous) {
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  if (from_device) expect_device(copy.from, copy.from_bytes(), "source of a copy");
  if (to_device) expect_device(copy.to, copy.to_bytes(), "target of a copy");
  if (!from_device && is_device(copy.from)) fail("source of a copy is device memory, but its kind says host");
  if (!to_device && is_device(copy.to)) fail("target of a copy is device memory, but its kind says host");
  if (!asynchronous) return;
  if (!from_device && !is_pinned(copy.from, copy.from_bytes()))
    fail("an asynchronous copy from memory that is not pinned waits for the device");
  if (!to_device && !is_pinned(copy.to, copy.to_bytes()))
    fail("an asynchronous copy to memory that is not pinned waits for the device");
}

cudaError_t copy_later(Rectangle rectangle, cudaMemcpyKind kind, cudaStream_t stream) {
  if (rectangle.width == 0 || rectangle.height == 0) return cudaSuccess;
  if (kind == cudaMemcpyDefault || kind == cudaMemcpyHostToHost) fail("a copy whose kind does not say where it goes");
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  expect_sides(rectangle, kind, true);
  const auto copy = std::make_shared<const Rectangle>(rectangle);
  return append(stream, [copy, kind]() -> Run {
    if (kind == cudaMemcpyDeviceToHost) {
      arriving.push_back(copy.get());
      if (!is_leaving(copy->to, copy->to_bytes())) copy->poison();
      return [copy] {
        std::erase(arriving, copy.get());
        copy->copy();
      };
    }
    if (kind == cudaMemcpyDeviceToDevice) return [copy] { copy->copy(); };
    const bool from_copy = is_arriving(copy->from, copy->from_bytes());
    leaving.push_back(copy.get());
    return [copy, from_copy, before = from_copy ? 0 : copy->fingerprint()] {
      std::erase(leaving, copy.get());
      if (!from_copy && copy->fingerprint() != before)
        fail("the host wrote into %zu bytes that an asynchronous copy had yet to read", copy->from_bytes());
      copy->copy();
    };
  });
}

}  // namespace

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Entry entry;
  return copy_later({static_cast<char*>(to), bytes, static_cast<const char*>(from), bytes, bytes, 1}, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  const Entry entry;
  if (width > to_pitch || width > from_pitch) return answer(cudaErrorInvalidValue);
  return copy_later({static_cast<char*>(to), to_pitch, static_cast<const char*>(from), from_pitch, width, height}, kind,
                    stream);
}

// On the legacy default stream, which waits for no stream of ours (all are non-blocking), nor they for it.
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (capturing()) return answer(refuse_in_capture());
  const Rectangle copy{static_cast<char*>(to), bytes, static_cast<const char*>(from), bytes, bytes, 1};
  if (bytes == 0) return cudaSuccess;
  expect_sides(copy, kind, false);
  const DeviceAccess access;
  copy.copy();
  return cudaSuccess;
}

cudaError_t cudaMemset(void* to, int byte, size_t bytes) {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (capturing()) return answer(refuse_in_capture());
  if (bytes == 0) return cudaSuccess;
  expect_device(to, bytes, "cudaMemset");
  const DeviceAccess access;
  std::memset(to, byte, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t stream) {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (bytes == 0) return cudaSuccess;
  expect_device(to, bytes, "cudaMemsetAsync");
  return append(stream, [=] { return [=] { std::memset(to, byte, bytes); }; });
}
