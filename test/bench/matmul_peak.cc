// matmul_peak THREADS ROWS INNER COLS [bf16]: the best of several oneDNN products of that shape, printed in GFLOP/s:
// f32 sgemm, or bf16 factors with f32 sums. The peer of the engine's bench: the same library, the same build, nothing
// but the product. In bf16 the second factor lies as oneDNN likes it best.
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dnnl.hpp>
#include <functional>
#include <vector>

using dnnl::memory;

namespace {

double best_of(memory::dim m, memory::dim k, memory::dim n, const std::function<void()>& product) {
  double best = 0;
  for (int round = 0; round < 12; ++round) {
    const auto start = std::chrono::steady_clock::now();
    product();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best,
                    2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / seconds.count());
  }
  return best;
}

double f32_peak(memory::dim m, memory::dim k, memory::dim n) {
  std::vector<float> a(static_cast<size_t>(m * k), 0.5f), b(static_cast<size_t>(k * n), 0.25f),
      c(static_cast<size_t>(m * n));
  return best_of(m, k, n, [&] {
    if (dnnl_sgemm('N', 'T', m, n, k, 1, a.data(), k, b.data(), k, 0, c.data(), n) != dnnl_success) std::exit(1);
  });
}

double bf16_peak(memory::dim m, memory::dim k, memory::dim n) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  using Type = memory::data_type;
  using Tag = memory::format_tag;
  const dnnl::matmul::primitive_desc how(
      dnnl::matmul::desc({{m, k}, Type::bf16, Tag::ab}, {{k, n}, Type::bf16, Tag::any}, {{m, n}, Type::f32, Tag::ab}),
      engine);
  // Every bf16 of it is 0x3f3f, about 0.75.
  const auto filled = [&](const memory::desc& desc) {
    memory block(desc, engine);
    std::memset(block.get_data_handle(), 0x3f, desc.get_size());
    return block;
  };
  const memory a = filled(how.src_desc()), b = filled(how.weights_desc()), c = filled(how.dst_desc());
  const dnnl::matmul product(how);
  return best_of(m, k, n, [&] {
    product.execute(stream, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}});
    stream.wait();
  });
}

}  // namespace

int main(int count, char** argument) {
  if (count != 5 && (count != 6 || std::strcmp(argument[5], "bf16") != 0)) return 2;
  omp_set_num_threads(std::atoi(argument[1]));
  const memory::dim m = std::atoi(argument[2]), k = std::atoi(argument[3]), n = std::atoi(argument[4]);
  std::printf("%.2f\n", count == 5 ? f32_peak(m, k, n) : bf16_peak(m, k, n));
}
