// The op table's arguments as the kernels take them (device_ops.cuh).
#pragma once

#include "cuda_stream.cuh"
#include "device_ops.cuh"
#include "tensor.h"

namespace humanizer::cuda {

[[noreturn]] inline void refuse_width(int64_t width) {
  throw Error(Code::kInternal, "an operation got values of " + std::to_string(width) + " bytes, not of its own type");
}

template <class T>
View<T> view(const Rows& x) {
  if (x.width != sizeof(T)) refuse_width(x.width);
  return {reinterpret_cast<T*>(x.data), x.rows, x.cols, x.stride};
}
template <class T>
View<const T> view(const ConstRows& x) {
  if (x.width != sizeof(T)) refuse_width(x.width);
  return {reinterpret_cast<const T*>(x.data), x.rows, x.cols, x.stride};
}

// With tables that the device can read.
inline Nf4Tensor on_device(Nf4Tensor tensor) {
  if (tensor.code == kNf4Code) tensor.code = tables().nf4;
  if (tensor.absmax_map == kDynamicCode) tensor.absmax_map = tables().dynamic;
  return tensor;
}
inline HeldMatrix on_device(HeldMatrix w) {
  if (w.nf4.codes) w.nf4 = on_device(w.nf4);
  return w;
}

}  // namespace humanizer::cuda
