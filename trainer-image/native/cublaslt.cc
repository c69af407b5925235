#include "cublaslt.h"

#include <cublasLt.h>

#include <array>
#include <map>

#include "error.h"

namespace humanizer::cuda {

namespace {

using bf16 = __nv_bfloat16;

// Places in a key.
enum {
  kOperand,
  kResult,
  kTransposition,
  kRows,
  kCols,
  kDepth,
  kStrideA,
  kStrideB,
  kStrideC,
  kAlignA,
  kAlignB,
  kAlignC
};

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(status == CUBLAS_STATUS_ALLOC_FAILED ? Code::kOutOfMemory : Code::kInternal,
              std::string(call) + ": cuBLAS status " + std::to_string(static_cast<int>(status)));
}

template <class T>
constexpr int64_t type_of() {
  return std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_16BF;
}

// The largest power of two that divides the address, of those that matter to cuBLASLt.
int64_t alignment(const void* at) {
  int64_t bytes = 256;
  while (reinterpret_cast<uintptr_t>(at) % static_cast<uintptr_t>(bytes) != 0) bytes /= 2;
  return bytes;
}

template <class Value>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
}

void set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute, bool transposed) {
  const int32_t value = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  check(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}

// Of a matrix by rows, which cuBLASLt reads by columns: transposed.
cublasLtMatrixLayout_t layout(int64_t type, int64_t rows, int64_t cols, int64_t stride) {
  cublasLtMatrixLayout_t made = nullptr;
  check(cublasLtMatrixLayoutCreate(&made, static_cast<cudaDataType_t>(type), static_cast<uint64_t>(cols),
                                   static_cast<uint64_t>(rows), stride),
        "cublasLtMatrixLayoutCreate");
  return made;
}

}  // namespace

struct Products::Plans {
  struct Plan {
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  // Types, transposition, sizes, strides and alignments: all that the choice depends on.
  using Key = std::array<int64_t, 12>;

  explicit Plans(size_t bytes);
  ~Plans();
  Plans(const Plans&) = delete;
  Plans& operator=(const Plans&) = delete;

  const Plan& plan(const Key& key);
  void choose(Plan& plan, const Key& key);

  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;
  size_t workspace_bytes;
  std::map<Key, Plan> by_key;
};

Products::Products(size_t workspace_bytes) : plans_(std::make_unique<Plans>(workspace_bytes)) {}
Products::~Products() = default;

Products::Plans::Plans(size_t bytes) : workspace_bytes(bytes) {
  const cudaError_t status = cudaMalloc(&workspace, bytes);
  if (status != cudaSuccess) {
    throw Error(Code::kOutOfMemory,
                "the workspace of the products, " + std::to_string(bytes) + " bytes: " + cudaGetErrorString(status));
  }
  if (const cublasStatus_t made = cublasLtCreate(&handle); made != CUBLAS_STATUS_SUCCESS) {
    cudaFree(workspace);
    check(made, "cublasLtCreate");
  }
}

Products::Plans::~Plans() {
  for (const auto& [key, plan] : by_key) {
    cublasLtMatmulDescDestroy(plan.product);
    for (const cublasLtMatrixLayout_t made : {plan.a, plan.b, plan.c}) cublasLtMatrixLayoutDestroy(made);
  }
  cublasLtDestroy(handle);
  cudaFree(workspace);
}

// By columns c^T = op(b)^T op(a)^T: cuBLASLt's first operand is b.
const Products::Plans::Plan& Products::Plans::plan(const Key& key) {
  if (const auto found = by_key.find(key); found != by_key.end()) return found->second;
  Plan& made = by_key[key];
  try {
    const auto transpose = static_cast<Transpose>(key[kTransposition]);
    const bool a_transposed = transpose == Transpose::kTN, b_transposed = transpose == Transpose::kNT;
    check(cublasLtMatmulDescCreate(&made.product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    set(made.product, CUBLASLT_MATMUL_DESC_TRANSA, b_transposed);
    set(made.product, CUBLASLT_MATMUL_DESC_TRANSB, a_transposed);
    made.a = a_transposed ? layout(key[kOperand], key[kDepth], key[kRows], key[kStrideA])
                          : layout(key[kOperand], key[kRows], key[kDepth], key[kStrideA]);
    made.b = b_transposed ? layout(key[kOperand], key[kCols], key[kDepth], key[kStrideB])
                          : layout(key[kOperand], key[kDepth], key[kCols], key[kStrideB]);
    made.c = layout(key[kResult], key[kRows], key[kCols], key[kStrideC]);
    choose(made, key);
  } catch (...) {
    if (made.product) cublasLtMatmulDescDestroy(made.product);
    for (const cublasLtMatrixLayout_t of : {made.a, made.b, made.c}) {
      if (of) cublasLtMatrixLayoutDestroy(of);
    }
    by_key.erase(key);
    throw;
  }
  return made;
}

void Products::Plans::choose(Plan& plan, const Key& key) {
  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
  try {
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace_bytes));
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(key[kAlignB]));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(key[kAlignA]));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(key[kAlignC]));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(key[kAlignC]));
    status = cublasLtMatmulAlgoGetHeuristic(handle, plan.product, plan.b, plan.a, plan.c, plan.c, preference, 1,
                                            &result, &found);
  } catch (...) {
    cublasLtMatmulPreferenceDestroy(preference);
    throw;
  }
  cublasLtMatmulPreferenceDestroy(preference);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0) {
    throw Error(Code::kInternal, "cuBLASLt has no algorithm for the product " + std::to_string(key[kRows]) + "x" +
                                     std::to_string(key[kCols]) + "x" + std::to_string(key[kDepth]) +
                                     ": cuBLAS status " + std::to_string(static_cast<int>(status)));
  }
  plan.algorithm = result.algo;
}

template <class T, class C>
void Products::multiply(cudaStream_t stream, View<C> c, View<const T> a, View<const T> b, Transpose transpose,
                        float alpha, float beta) {
  if (c.rows == 0 || c.cols == 0) return;
  const Plans::Plan& of = plans_->plan({type_of<T>(), type_of<C>(), static_cast<int64_t>(transpose), c.rows, c.cols,
                                        transpose == Transpose::kTN ? a.rows : a.cols, a.stride, b.stride, c.stride,
                                        alignment(a.data), alignment(b.data), alignment(c.data)});
  check(cublasLtMatmul(plans_->handle, of.product, &alpha, b.data, of.b, a.data, of.a, &beta, c.data, of.c, c.data,
                       of.c, &of.algorithm, plans_->workspace, plans_->workspace_bytes, stream),
        "cublasLtMatmul");
}

template void Products::multiply(cudaStream_t, View<float>, View<const float>, View<const float>, Transpose, float,
                                 float);
template void Products::multiply(cudaStream_t, View<bf16>, View<const bf16>, View<const bf16>, Transpose, float, float);
template void Products::multiply(cudaStream_t, View<float>, View<const bf16>, View<const bf16>, Transpose, float,
                                 float);

}  // namespace humanizer::cuda
