// matmul_peak THREADS ROWS INNER COLS: the best of several oneDNN f32 sgemm of that shape, printed in GFLOP/s. The peer
// of the engine's bench: the same library, the same build, nothing but the product.
#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int count, char** argument) {
  if (count != 5) return 2;
  omp_set_num_threads(std::atoi(argument[1]));
  const dnnl_dim_t m = std::atoi(argument[2]), k = std::atoi(argument[3]), n = std::atoi(argument[4]);
  std::vector<float> a(static_cast<size_t>(m * k), 0.5f), b(static_cast<size_t>(k * n), 0.25f),
      c(static_cast<size_t>(m * n));
  double best = 0;
  for (int round = 0; round < 12; ++round) {
    const auto start = std::chrono::steady_clock::now();
    if (dnnl_sgemm('N', 'T', m, n, k, 1, a.data(), k, b.data(), k, 0, c.data(), n) != dnnl_success) return 1;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best,
                    2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / seconds.count());
  }
  std::printf("%.2f\n", best);
}
