// Rows by index, the caches of a decoding step, sums of losses and flags, against the .cc of the same op.
#include <numeric>

#include "op_case.h"

namespace humanizer::cuda {

namespace {

const Backend& cpu() { return cpu_backend(); }

template <class T>
std::vector<float> read(cudaStream_t stream, const Device<T>& device) {
  expect(cudaStreamSynchronize(stream));
  return floats(device.values());
}

template <class T>
void by_index(int64_t rows, int64_t cols) {
  const int64_t all = rows + 4;
  const std::vector<T> from = random_values<T>(all * cols);
  const std::vector<float> from_f32 = floats(from);
  std::vector<int32_t> indices(static_cast<size_t>(rows));
  std::iota(indices.begin(), indices.end(), 3);
  std::ranges::shuffle(indices, generator);
  std::vector<float> gathered(static_cast<size_t>(rows * cols)), scattered(from_f32.size());
  cpu().gather_rows(dense(gathered.data(), rows, cols), dense(from_f32.data(), all, cols), indices.data());
  cpu().scatter_rows(dense(scattered.data(), all, cols), dense(gathered.data(), rows, cols), indices.data());
  check(named("rows gathered have the bits", name_of<T>(), {rows, cols}), gathered, 0, [&](cudaStream_t stream) {
    const Device<T> source(from), to(static_cast<size_t>(rows * cols));
    const Device<int32_t> at(indices);
    gather_rows<T>(stream, view(to, rows, cols), view(source, all, cols), at.data());
    return read(stream, to);
  });
  check(named("rows scattered have the bits", name_of<T>(), {rows, cols}), scattered, 0, [&](cudaStream_t stream) {
    const Device<T> source(std::vector<T>(gathered.begin(), gathered.end())), to(zeros<T>(all * cols));
    const Device<int32_t> at(indices);
    scatter_rows<T>(stream, view(to, all, cols), view(source, rows, cols), at.data());
    return read(stream, to);
  });
  check(named("rows rounded", name_of<T>(), {rows, cols}), from_f32, bound_of<T>(), [&](cudaStream_t stream) {
    const Device<float> source(from_f32);
    const Device<T> to(static_cast<size_t>(all * cols));
    copy_rows<T>(stream, view(to, all, cols), view(source, all, cols));
    return read(stream, to);
  });
}

// Row r of three goes behind the r values that its cache holds.
template <class T>
void appended(int64_t cols) {
  const std::vector<T> keys = random_values<T>(3 * cols), values = random_values<T>(3 * cols);
  std::vector<float> expected = zeros(2 * 3 * 3 * cols);
  for (int64_t r = 0; r < 3; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const auto at = static_cast<size_t>((3 * r + r) * cols + c), in = static_cast<size_t>(r * cols + c);
      expected[at] = static_cast<float>(keys[in]);
      expected[static_cast<size_t>(9 * cols) + at] = static_cast<float>(values[in]);
    }
  }
  check(named("a row behind its cache", name_of<T>(), {cols}), expected, 0, [&](cudaStream_t stream) {
    const Device<T> k(keys), v(values), caches(zeros<T>(2 * 9 * cols));
    std::vector<CachedRow<T>> rows;
    for (int64_t r = 0; r < 3; ++r) {
      rows.push_back({caches.data() + 3 * r * cols, caches.data() + (9 + 3 * r) * cols, r + 1});
    }
    const Device<CachedRow<T>> at(rows);
    append_to_caches<T>(stream, at.data(), view(k, 3, cols), view(v, 3, cols));
    return read(stream, caches);
  });
}

void sums() {
  const std::vector<int32_t> first = {0, 1, 1, 700, 701};
  const std::vector<float> random = random_values<float>(701);
  const std::vector<double> nll(random.begin(), random.end());
  std::vector<double> expected = {1, 2, 3, 4};
  cpu().loss_sums(expected.data(), nll.data(), first.data(), 4);
  check("sums of losses f64", {expected.begin(), expected.end()}, 1e-7, [&](cudaStream_t stream) {
    const Device<double> to(std::vector<double>{1, 2, 3, 4}), from(nll);
    const Device<int32_t> at(first);
    loss_sums(stream, to.data(), from.data(), at.data(), 4);
    expect(cudaStreamSynchronize(stream));
    return to.values();
  });
}

template <class T>
void flags(float value, double sum) {
  std::vector<float> x = floats(random_values<T>(5 * 33));
  x[100] = value;
  int32_t expected = 7;
  cpu().non_finite_rows(&expected, dense(x.data(), 5, 33), &sum);
  check(named("a flag of rows", name_of<T>(), {std::isfinite(value), std::isfinite(sum)}),
        {static_cast<float>(expected)}, 0, [&](cudaStream_t stream) {
          const Device<T> from(std::vector<T>(x.begin(), x.end()));
          const Device<double> of(std::vector<double>{sum});
          const Device<int32_t> flag(std::vector<int32_t>{7});
          non_finite_rows<T>(stream, flag.data(), view(from, 5, 33), of.data());
          return read(stream, flag);
        });
}

void flags_of_parts(int32_t skip) {
  std::vector<float> x = random_values<float>(3000);
  x[1] = NAN;
  x[2999] = -INFINITY;
  const std::vector<int64_t> begin = {0, 1, 2, 2500, 3000};
  const GradientNorm norm{skip ? NAN : 1.0, skip};
  std::vector<int32_t> expected(4, 7);
  cpu().non_finite_parts(expected.data(), x.data(), begin.data(), 4, &norm);
  check(named("flags of parts", "f32", {skip}), {expected.begin(), expected.end()}, 0, [&](cudaStream_t stream) {
    const Device<float> from(x);
    const Device<int64_t> at(begin);
    const Device<GradientNorm> of(std::vector<GradientNorm>{norm});
    const Device<int32_t> to(std::vector<int32_t>(4, 7));
    non_finite_parts(stream, to.data(), from.data(), at.data(), 4, of.data());
    return read(stream, to);
  });
}

template <class T>
void of_type() {
  by_index<T>(1, 1);
  by_index<T>(5, 33);
  by_index<T>(3, 521);
  appended<T>(40);
  flags<T>(INFINITY, NAN);
  flags<T>(1, INFINITY);
  flags<T>(NAN, 1);
}

}  // namespace

void row_cases() {
  generator.seed(5);
  of_type<float>();
  of_type<bf16>();
  sums();
  flags_of_parts(0);
  flags_of_parts(1);
}

}  // namespace humanizer::cuda
