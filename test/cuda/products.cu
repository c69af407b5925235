// The stand-in for cuBLASLt: what it computes, and that it refuses what the real one refuses.
#include <cublasLt.h>
#include <cuda_bf16.h>

#include <string>
#include <vector>

#include "buffers.h"
#include "contract.h"
#include "same_bits.h"

namespace humanizer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

void expect(cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  std::fprintf(stderr, "a call of the test answers %s\n", cublasGetStatusName(status));
  std::abort();
}
using cuda::expect;

// D (m, n) = A (m, k) B (k, n) + C, stored by rows; the settings that a broken call gets wrong.
struct Call {
  int64_t m = 5, n = 7, k = 33;
  bool transposed_b = false;
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE;
  int64_t ld_a = 0;  // 0: k
  size_t shift_a = 0, given_workspace = 4096;
  uint32_t alignment = 16;
  cudaDataType_t output = CUDA_R_32F;
  bool with_algorithm = true;
  int64_t other_n = 0;  // of the product that the algorithm is chosen for

  cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t cols, int64_t ld) const {
    cublasLtMatrixLayout_t made;
    expect(cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), ld));
    const int32_t by_rows = CUBLASLT_ORDER_ROW;
    expect(cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_ORDER, &by_rows, sizeof by_rows));
    return made;
  }

  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;  // of the heuristic or the product

  std::vector<float> run(const std::vector<Bf16>& a_values, const std::vector<Bf16>& b_values) {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatmulPreference_t preference;
    expect(cublasLtCreate(&handle));
    expect(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const int32_t transposed = transposed_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    expect(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSB, &transposed, sizeof transposed));
    expect(cublasLtMatmulPreferenceCreate(&preference));
    const uint64_t allowed = 8192;
    expect(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &allowed, 8));
    expect(
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, 4));
    for (const auto which : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                             CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      expect(cublasLtMatmulPreferenceSetAttribute(preference, which, &alignment, 4));
    const auto a_layout = layout(CUDA_R_16BF, m, k, ld_a ? ld_a : k);
    const auto b_layout = transposed_b ? layout(CUDA_R_16BF, n, k, k) : layout(CUDA_R_16BF, k, n, n);
    const auto d_layout = layout(output, m, n, n);
    const auto other_b = other_n ? layout(CUDA_R_16BF, k, other_n, other_n) : b_layout;
    const auto other_d = other_n ? layout(output, m, other_n, other_n) : d_layout;
    const Stream stream;
    const Device<Bf16> a(a_values), b(b_values);
    const Device<char> workspace(given_workspace);
    const Device<float> d(std::vector<float>(static_cast<size_t>(m * n), 1.0f));
    cublasLtMatmulHeuristicResult_t found;
    int count;
    status = cublasLtMatmulAlgoGetHeuristic(handle, desc, a_layout, other_b, other_d, other_d, preference, 1, &found,
                                            &count);
    const float one = 1;
    if (status == CUBLAS_STATUS_SUCCESS)
      status = cublasLtMatmul(handle, desc, &one, a.data() + shift_a, a_layout, b.data(), b_layout, &one, d.data(),
                              d_layout, d.data(), d_layout, with_algorithm ? &found.algo : nullptr, workspace.data(),
                              given_workspace, stream);
    stream.wait();
    for (const auto made : {a_layout, b_layout, d_layout}) expect(cublasLtMatrixLayoutDestroy(made));
    expect(cublasLtMatmulPreferenceDestroy(preference));
    expect(cublasLtMatmulDescDestroy(desc));
    expect(cublasLtDestroy(handle));
    return output == CUDA_R_32F ? d.values() : std::vector<float>();
  }
};

std::vector<Bf16> values(size_t count, size_t seed) {
  std::vector<Bf16> made(count);
  for (size_t i = 0; i < count; ++i) made[i] = static_cast<float>((i * seed + 3) % 17) * 0.37f - 2.0f;
  return made;
}
const std::vector<Bf16> kA = values(5 * 33 + 8, 7), kB = values(33 * 7, 5);

void computes(const char* name, bool transposed_b) {
  Call call{.transposed_b = transposed_b};
  std::vector<float> got;
  std::string problem = same_bits([&] { return got = call.run(kA, kB); });
  for (size_t i = 0; i < 5 && problem.empty(); ++i)
    for (size_t j = 0; j < 7; ++j) {
      double sum = 1, size = 1;
      for (size_t p = 0; p < 33; ++p) {
        const double product =
            static_cast<double>(kA[i * 33 + p]) * static_cast<double>(kB[transposed_b ? j * 33 + p : p * 7 + j]);
        sum += product;
        size += std::fabs(product);
      }
      // A sum of 33 products in f32, in any order.
      if (std::fabs(sum - static_cast<double>(got[i * 7 + j])) > 34 * 6e-8 * size)
        problem = "value " + std::to_string(i * 7 + j);
    }
  holds(name, problem);
}

void answers(const char* name, cublasStatus_t expected, Call call) {
  call.run(kA, kB);
  holds(name, call.status == expected ? "" : std::string("it answers ") + cublasGetStatusName(call.status));
}

}  // namespace

void product_cases() {
  computes("a product by rows", false);
  computes("a product with a transposed factor", true);
  answers("a leading dimension below the row's length", CUBLAS_STATUS_INVALID_VALUE, {.ld_a = 32});
  answers("a workspace below what the algorithm wants", CUBLAS_STATUS_INVALID_VALUE, {.given_workspace = 4095});
  refuses("a factor that is not aligned as promised", "not aligned to the 16 bytes",
          [] { Call{.shift_a = 1}.run(kA, kB); });
  refuses("a factor that is shorter than its layout", "of a device allocation", [] { Call{.ld_a = 64}.run(kA, kB); });
  refuses("a product without an algorithm", "without an algorithm", [] { Call{.with_algorithm = false}.run(kA, kB); });
  refuses("an algorithm for another product", "chosen for other matrices", [] { Call{.other_n = 8}.run(kA, kB); });
  const std::string split = same_bits([] { return Call{.reductions = CUBLASLT_REDUCTION_SCHEME_MASK}.run(kA, kB); });
  holds("a product that may split k is exposed", split.empty() ? "eight orders gave the same bits" : "");
}

}  // namespace humanizer::cuda
