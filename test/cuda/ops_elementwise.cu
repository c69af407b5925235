// RMSNorm, RoPE, SwiGLU, bias, cross-entropy.
#include <cstring>

#include "op_case.h"

namespace humanizer::cuda {

namespace {

const Backend& cpu() { return cpu_backend(); }

// A matrix on both sides: the host's in f32, the device's made anew for each order.
template <class T>
struct Both {
  std::vector<T> values;
  std::vector<float> host;
  int64_t rows, cols;
  Both(int64_t r, int64_t c, float scale = 1)
      : values(random_values<T>(r * c, scale)), host(floats(values)), rows(r), cols(c) {}
  ConstRows on_host() const { return dense(host.data(), rows, cols); }
};

template <class T>
void rmsnorm(int64_t rows, int64_t cols) {
  const Both<T> x(rows, cols), dy(rows, cols), dx(rows, cols);
  const std::vector<float> w = random_values<float>(cols);
  std::vector<float> y(x.host.size()), rstd(static_cast<size_t>(rows)), gradient = dx.host;
  cpu().rmsnorm_forward(dense(y.data(), rows, cols), rstd.data(), x.on_host(), w.data(), 1e-5f);
  cpu().rmsnorm_backward(dense(gradient.data(), rows, cols), dy.on_host(), x.on_host(), rstd.data(), w.data());
  check(named("rmsnorm forward", name_of<T>(), {rows, cols}), y, bound_of<T>(), [&](cudaStream_t stream) {
    const Device<T> from(x.values), to(x.values.size());
    const Device<float> weight(w), scale(static_cast<size_t>(rows));
    rmsnorm_forward<T>(stream, view(to, rows, cols), scale.data(), view(from, rows, cols), weight.data(), 1e-5f);
    expect(cudaStreamSynchronize(stream));
    return to.values();
  });
  check(named("rmsnorm replay has forward's bits", name_of<T>(), {rows, cols}), std::vector<float>(y.size()), 0,
        [&](cudaStream_t stream) {
          const Device<T> from(x.values), to(x.values.size()), again(x.values.size());
          const Device<float> weight(w), scale(static_cast<size_t>(rows));
          rmsnorm_forward<T>(stream, view(to, rows, cols), scale.data(), view(from, rows, cols), weight.data(), 1e-5f);
          rmsnorm_replay<T>(stream, view(again, rows, cols), scale.data(), view(from, rows, cols), weight.data());
          expect(cudaStreamSynchronize(stream));
          std::vector<float> difference = floats(to.values());
          const std::vector<float> other = floats(again.values());
          for (size_t i = 0; i < other.size(); ++i) difference[i] -= other[i];
          return difference;
        });
  check(named("rmsnorm backward", name_of<T>(), {rows, cols}), gradient, bound_of<T>(), [&](cudaStream_t stream) {
    const Device<T> from(x.values), out(dy.values), to(dx.values);
    const Device<float> weight(w), scale(rstd);
    rmsnorm_backward<T>(stream, view(to, rows, cols), view(out, rows, cols), view(from, rows, cols), scale.data(),
                        weight.data());
    expect(cudaStreamSynchronize(stream));
    return to.values();
  });
}

template <class T>
void rope(int64_t rows, int64_t heads, int64_t size, bool backward) {
  const int64_t cols = heads * size;
  const Both<T> x(rows, cols + size);  // the columns beyond are not turned
  std::vector<float> table(static_cast<size_t>(40 * size)), turned = x.host;
  rope_table(table.data(), rope_frequencies(size, 10000, {}), 40);
  const std::vector<int32_t> positions = random_integers(rows, 40);
  cpu().rope(columns(dense(turned.data(), rows, cols + size), 0, cols), positions.data(), table.data(), size, backward);
  check(named(backward ? "rope backward" : "rope", name_of<T>(), {rows, heads, size}), turned,
        std::is_same_v<T, float> ? 0 : kRounded, [&](cudaStream_t stream) {
          const Device<T> to(x.values);
          const Device<int32_t> at(positions);
          const Device<float> angles(table);
          rope<T>(stream, columns_of(view(to, rows, cols + size), 0, cols), at.data(), angles.data(), size, backward);
          expect(cudaStreamSynchronize(stream));
          return to.values();
        });
}

template <class T>
void swiglu(int64_t rows, int64_t cols) {
  const Both<T> gu(rows, 2 * cols, 8), dy(rows, cols);
  std::vector<float> y(dy.host.size()), dgu(gu.host.size());
  cpu().swiglu_forward(dense(y.data(), rows, cols), gu.on_host());
  cpu().swiglu_backward(dense(dgu.data(), rows, 2 * cols), dy.on_host(), gu.on_host());
  check(named("swiglu forward", name_of<T>(), {rows, cols}), y, bound_of<T>(), [&](cudaStream_t stream) {
    const Device<T> from(gu.values), to(dy.values.size());
    swiglu_forward<T>(stream, view(to, rows, cols), view(from, rows, 2 * cols));
    expect(cudaStreamSynchronize(stream));
    return to.values();
  });
  check(named("swiglu backward in place", name_of<T>(), {rows, cols}), dgu, bound_of<T>(), [&](cudaStream_t stream) {
    const Device<T> to(gu.values), out(dy.values);
    swiglu_backward<T>(stream, view(to, rows, 2 * cols), view(out, rows, cols), view(to, rows, 2 * cols));
    expect(cudaStreamSynchronize(stream));
    return to.values();
  });
}

template <class T>
void bias(int64_t rows, int64_t cols) {
  const Both<T> y(rows, cols);
  const std::vector<float> b = random_values<float>(cols);
  std::vector<float> sum = y.host;
  cpu().add_bias(dense(sum.data(), rows, cols), b.data());
  check(named("bias", name_of<T>(), {rows, cols}), sum, std::is_same_v<T, float> ? 0 : kRounded,
        [&](cudaStream_t stream) {
          const Device<T> to(y.values);
          const Device<float> added(b);
          add_bias<T>(stream, view(to, rows, cols), added.data());
          expect(cudaStreamSynchronize(stream));
          return to.values();
        });
}

// A vocabulary in two blocks; Z of the logits, T of their gradient.
template <class Z, class T>
void cross_entropy(int64_t rows, int64_t cols, float scale, float first_logit = 0) {
  const int64_t split = cols / 3;
  Both<Z> z(rows, cols, scale);
  if (first_logit != 0) z.values[0] = first_logit, z.host[0] = first_logit;
  const std::vector<int32_t> labels = random_integers(rows, static_cast<int32_t>(cols));
  std::vector<RowSoftmax> softmax(static_cast<size_t>(rows));
  const auto blocks = [&](auto f) {
    f(0, split);
    f(split, cols - split);
  };
  std::vector<float> losses, gradient(z.host.size());
  blocks([&](int64_t first, int64_t count) {
    if (count > 0) cpu().cross_entropy_scan(softmax.data(), columns(z.on_host(), first, count), labels.data(), first);
  });
  blocks([&](int64_t first, int64_t count) {
    cpu().cross_entropy_gradient(columns(dense(gradient.data(), rows, cols), first, count),
                                 columns(z.on_host(), first, count), softmax.data(), labels.data(), first);
  });
  for (const RowSoftmax& row : softmax) {
    losses.push_back(
        static_cast<float>(std::log(row.total) + static_cast<double>(row.maximum) - static_cast<double>(row.target)));
  }
  const auto scan = [&](cudaStream_t stream, const Device<Z>& from, const Device<int32_t>& at,
                        const Device<RowSoftmax>& to) {
    blocks([&](int64_t first, int64_t count) {
      if (count > 0) {
        cross_entropy_scan<Z>(stream, to.data(), columns_of(view(from, rows, cols), first, count), at.data(), first);
      }
    });
  };
  check(named("cross-entropy", name_of<Z>(), {rows, cols}), losses, kReordered, [&](cudaStream_t stream) {
    const Device<Z> from(z.values);
    const Device<int32_t> at(labels);
    const Device<RowSoftmax> state(static_cast<size_t>(rows));
    const Device<double> nll(static_cast<size_t>(rows));
    scan(stream, from, at, state);
    cross_entropy_loss(stream, nll.data(), state.data(), rows);
    expect(cudaStreamSynchronize(stream));
    return nll.values();
  });
  check(named("cross-entropy gradient", name_of<T>(), {rows, cols}), gradient, bound_of<T>(), [&](cudaStream_t stream) {
    const Device<Z> from(z.values);
    const Device<int32_t> at(labels);
    const Device<RowSoftmax> state(static_cast<size_t>(rows));
    const Device<T> to(z.values.size());
    scan(stream, from, at, state);
    blocks([&](int64_t first, int64_t count) {
      cross_entropy_gradient<Z, T>(stream, columns_of(view(to, rows, cols), first, count),
                                   columns_of(view(from, rows, cols), first, count), state.data(), at.data(), first);
    });
    expect(cudaStreamSynchronize(stream));
    return to.values();
  });
}

template <class T>
void both_types() {
  for (const auto& [rows, cols] : {std::pair{1, 1}, {3, 33}, {2, 64}, {5, 2056}, {2, 5000}}) rmsnorm<T>(rows, cols);
  for (const bool backward : {false, true}) {
    rope<T>(1, 1, 2, backward);
    rope<T>(7, 3, 64, backward);
    rope<T>(3, 2, 96, backward);
    rope<T>(5, 5, 20, backward);
  }
  for (const auto& [rows, cols] : {std::pair{1, 1}, {3, 31}, {2, 64}, {3, 1032}, {2, 2051}}) swiglu<T>(rows, cols);
  bias<T>(1, 1);
  bias<T>(3, 300);
}

}  // namespace

void elementwise_cases() {
  generator.seed(5);
  both_types<float>();
  both_types<bf16>();
  cross_entropy<float, float>(1, 3, 1);
  cross_entropy<float, float>(3, 777, 30);
  cross_entropy<float, float>(2, 6144, 80);
  cross_entropy<float, bf16>(3, 777, 5);
  cross_entropy<float, bf16>(2, 6144, 5);
  cross_entropy<bf16, bf16>(3, 6144, 20);
  cross_entropy<float, float>(2, 90, 1, NAN);
  cross_entropy<float, float>(2, 90, 1, INFINITY);
}

}  // namespace humanizer::cuda
