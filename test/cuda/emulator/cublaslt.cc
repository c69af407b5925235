#include "../emulated/cublasLt.h"

#include <dnnl.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "../emulated/cuda_bf16.h"
#include "device.h"
#include "entry.h"
#include "failure.h"
#include "memory.h"
#include "random.h"
#include "stream.h"

using namespace emulated_cuda;

struct cublasLtContext {
  bool alive = true;
};
struct cublasLtMatmulDescOpaque {
  cublasComputeType_t compute;
  int32_t transposed_a = CUBLAS_OP_N, transposed_b = CUBLAS_OP_N;
};
struct cublasLtMatrixLayoutOpaque {
  cudaDataType_t type;
  int32_t order = CUBLASLT_ORDER_COL;
  uint64_t rows, cols;
  int64_t ld;
  int32_t batches = 1;
  int64_t batch_offset = 0;
};
struct cublasLtMatmulPreferenceOpaque {
  uint64_t workspace = 0;
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;  // all are allowed unless somebody says otherwise
  uint32_t alignments[4] = {256, 256, 256, 256};
};

namespace {

using Layout = cublasLtMatrixLayoutOpaque;

size_t size_of(cudaDataType_t type) { return type == CUDA_R_16BF ? 2 : 4; }

// Of one matrix of the batch: rows or columns, by the order, lie ld apart.
uint64_t lines(const Layout& layout) { return layout.order == CUBLASLT_ORDER_COL ? layout.cols : layout.rows; }
uint64_t line_length(const Layout& layout) { return layout.order == CUBLASLT_ORDER_COL ? layout.rows : layout.cols; }
size_t extent(const Layout& layout) {
  const uint64_t matrix = (lines(layout) - 1) * static_cast<uint64_t>(layout.ld) + line_length(layout);
  return (matrix + static_cast<uint64_t>(layout.batches - 1) * static_cast<uint64_t>(layout.batch_offset)) *
         size_of(layout.type);
}

struct Shape {
  uint64_t m, n, k;
};

bool right(const Layout& layout) {
  return layout.rows > 0 && layout.cols > 0 && layout.batches > 0 &&
         layout.ld >= static_cast<int64_t>(line_length(layout));
}

// CUBLAS_STATUS_SUCCESS when the real one has a product of these.
cublasStatus_t product_of(const cublasLtMatmulDescOpaque& desc, const Layout& a, const Layout& b, const Layout& c,
                          const Layout& d, Shape* shape) {
  if (!right(a) || !right(b) || !right(c) || !right(d)) return CUBLAS_STATUS_INVALID_VALUE;
  const bool ta = desc.transposed_a == CUBLAS_OP_T, tb = desc.transposed_b == CUBLAS_OP_T;
  *shape = {ta ? a.cols : a.rows, tb ? b.rows : b.cols, ta ? a.rows : a.cols};
  if ((tb ? b.cols : b.rows) != shape->k || d.rows != shape->m || d.cols != shape->n || c.rows != d.rows ||
      c.cols != d.cols)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (a.batches != b.batches || a.batches != c.batches || a.batches != d.batches) return CUBLAS_STATUS_INVALID_VALUE;
  if (c.order != d.order) return CUBLAS_STATUS_NOT_SUPPORTED;
  // "cublasLtMatmul()", the table of supported types: both factors of one type, C and D of one, and f32 with f32 only.
  if (a.type != b.type || c.type != d.type || (a.type == CUDA_R_32F && d.type != CUDA_R_32F))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

// What an algorithm was chosen for; it must not be used for anything else.
uint64_t fingerprint(const cublasLtMatmulDescOpaque& desc, const Layout* const* layouts) {
  uint64_t hash = 0xcbf29ce484222325ull;
  const auto mix = [&](uint64_t value) { hash = (hash ^ value) * 0x100000001b3ull; };
  mix(static_cast<uint64_t>(desc.transposed_a * 2 + desc.transposed_b));
  for (int i = 0; i < 4; ++i) {
    const Layout& layout = *layouts[i];
    for (const uint64_t value : {uint64_t{layout.type}, static_cast<uint64_t>(layout.order), layout.rows, layout.cols,
                                 static_cast<uint64_t>(layout.ld), static_cast<uint64_t>(layout.batches)})
      mix(value);
  }
  return hash;
}

// Fields of cublasLtMatmulAlgo_t::data.
enum { kFor, kSplits, kWorkspace, kAlignA, kAlignB, kAlignC, kAlignD };

float load(const void* matrix, const Layout& layout, uint64_t row, uint64_t col, int batch) {
  const uint64_t ld = static_cast<uint64_t>(layout.ld);
  const uint64_t at = (layout.order == CUBLASLT_ORDER_COL ? col * ld + row : row * ld + col) +
                      static_cast<uint64_t>(batch) * static_cast<uint64_t>(layout.batch_offset);
  return layout.type == CUDA_R_16BF ? static_cast<float>(static_cast<const __nv_bfloat16*>(matrix)[at])
                                    : static_cast<const float*>(matrix)[at];
}
void store(void* matrix, const Layout& layout, uint64_t row, uint64_t col, int batch, float value) {
  const uint64_t ld = static_cast<uint64_t>(layout.ld);
  const uint64_t at = (layout.order == CUBLASLT_ORDER_COL ? col * ld + row : row * ld + col) +
                      static_cast<uint64_t>(batch) * static_cast<uint64_t>(layout.batch_offset);
  if (layout.type == CUDA_R_16BF) {
    static_cast<__nv_bfloat16*>(matrix)[at] = value;
  } else {
    static_cast<float*>(matrix)[at] = value;
  }
}

struct Product {
  cublasLtMatmulDescOpaque desc;
  Layout a_layout, b_layout, c_layout, d_layout;
  const void *a, *b, *c;
  void* d;
  float alpha, beta;
  Shape shape;
  bool splits;

  void run() const {
    const auto [m, n, k] = shape;
    std::vector<float> left(m * k), right(k * n), sum(m * n);
    for (int batch = 0; batch < a_layout.batches; ++batch) {
      for (uint64_t i = 0; i < m; ++i)
        for (uint64_t p = 0; p < k; ++p)
          left[i * k + p] = desc.transposed_a ? load(a, a_layout, p, i, batch) : load(a, a_layout, i, p, batch);
      for (uint64_t p = 0; p < k; ++p)
        for (uint64_t j = 0; j < n; ++j)
          right[p * n + j] = desc.transposed_b ? load(b, b_layout, j, p, batch) : load(b, b_layout, p, j, batch);
      std::ranges::fill(sum, 0.0f);
      // Split-K adds its parts in whatever order they come.
      const uint64_t first = splits && k > 1 ? 1 + order.random.below(static_cast<uint32_t>(k - 1)) : k;
      multiply(left, right, sum, 0, first);
      if (first < k) multiply(left, right, sum, first, k);
      for (uint64_t i = 0; i < m; ++i)
        for (uint64_t j = 0; j < n; ++j) {
          const float old = beta == 0 ? 0 : beta * load(c, c_layout, i, j, batch);
          store(d, d_layout, i, j, batch, alpha * sum[i * n + j] + old);
        }
    }
  }

  // sum += left[:, begin..end] right[begin..end, :]
  void multiply(const std::vector<float>& left, const std::vector<float>& right, std::vector<float>& sum,
                uint64_t begin, uint64_t end) const {
    const auto size = [](uint64_t value) { return static_cast<dnnl_dim_t>(value); };
    if (dnnl_sgemm('N', 'N', size(shape.m), size(shape.n), size(end - begin), 1, left.data() + begin, size(shape.k),
                   right.data() + begin * shape.n, size(shape.n), 1, sum.data(), size(shape.n)) != dnnl_success)
      fail("oneDNN refuses a product");
  }
};

void expect_operand(const void* pointer, const Layout& layout, uint64_t alignment, const char* name) {
  expect_device(pointer, extent(layout), name);
  if (reinterpret_cast<uintptr_t>(pointer) % alignment != 0)
    fail("%s of a product is not aligned to the %zu bytes that its algorithm was chosen for", name,
         static_cast<size_t>(alignment));
}

bool overlap(const void* x, size_t x_bytes, const void* y, size_t y_bytes) {
  const auto *from_x = static_cast<const char*>(x), *from_y = static_cast<const char*>(y);
  return from_x < from_y + y_bytes && from_y < from_x + x_bytes;
}

template <class T>
cublasStatus_t set(T* field, const void* value, size_t bytes) {
  if (bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(field, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}
const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  const Entry entry;
  if (device_state() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  const Entry entry;
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
  const Entry entry;
  if (scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *desc = new cublasLtMatmulDescOpaque{compute};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  const Entry entry;
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  const Entry entry;
  return set(attribute == CUBLASLT_MATMUL_DESC_TRANSA ? &desc->transposed_a : &desc->transposed_b, value, bytes);
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
  const Entry entry;
  *layout = new Layout{.type = type, .rows = rows, .cols = cols, .ld = ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  const Entry entry;
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t bytes) {
  const Entry entry;
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return set(&layout->type, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return set(&layout->order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return set(&layout->rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return set(&layout->cols, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return set(&layout->ld, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return set(&layout->batches, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return set(&layout->batch_offset, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  const Entry entry;
  *preference = new cublasLtMatmulPreferenceOpaque;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  const Entry entry;
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  const Entry entry;
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return set(&preference->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return set(&preference->reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return set(&preference->alignments[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

// One algorithm: it takes a part of the workspace that it may have, and splits k where it may.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int requested, cublasLtMatmulHeuristicResult_t* results, int* returned) {
  const Entry entry;
  *returned = 0;
  if (requested < 1) return CUBLAS_STATUS_INVALID_VALUE;
  Shape shape;
  if (const cublasStatus_t status = product_of(*desc, *a, *b, *c, *d, &shape); status != CUBLAS_STATUS_SUCCESS)
    return status;
  const Layout* const layouts[] = {a, b, c, d};
  cublasLtMatmulHeuristicResult_t& result = results[0];
  result = {};
  result.algo.data[kFor] = fingerprint(*desc, layouts);
  result.algo.data[kSplits] = preference->reductions != CUBLASLT_REDUCTION_SCHEME_NONE;
  result.algo.data[kWorkspace] = result.workspaceSize = std::min<uint64_t>(preference->workspace, 1 << 20) / 2;
  for (int i = 0; i < 4; ++i) result.algo.data[kAlignA + i] = preference->alignments[i];
  result.wavesCount = 1;
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  const Entry entry;
  Product product{*desc, *a_layout, *b_layout, *c_layout, *d_layout, a, b, c, d, 0, 0, {}, false};
  if (const cublasStatus_t status = product_of(*desc, *a_layout, *b_layout, *c_layout, *d_layout, &product.shape);
      status != CUBLAS_STATUS_SUCCESS)
    return status;
  if (!algo) fail("a product without an algorithm: the library may choose one whose sums have another order each time");
  const Layout* const layouts[] = {a_layout, b_layout, c_layout, d_layout};
  if (algo->data[kFor] != fingerprint(*desc, layouts))
    fail("a product with an algorithm that was chosen for other matrices");
  if (workspace_bytes < algo->data[kWorkspace]) return CUBLAS_STATUS_INVALID_VALUE;
  if (algo->data[kWorkspace] > 0) {
    expect_device(workspace, workspace_bytes, "the workspace of a product");
    if (reinterpret_cast<uintptr_t>(workspace) % 16 != 0) return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memcpy(&product.alpha, alpha, sizeof(float));
  std::memcpy(&product.beta, beta, sizeof(float));
  expect_operand(a, *a_layout, algo->data[kAlignA], "A");
  expect_operand(b, *b_layout, algo->data[kAlignB], "B");
  if (product.beta != 0) expect_operand(c, *c_layout, algo->data[kAlignC], "C");
  expect_operand(d, *d_layout, algo->data[kAlignD], "D");
  if (overlap(d, extent(*d_layout), a, extent(*a_layout)) || overlap(d, extent(*d_layout), b, extent(*b_layout)))
    fail("D of a product overlaps one of its factors");
  if (product.beta != 0 && overlap(d, extent(*d_layout), c, extent(*c_layout)) &&
      (d != c || d_layout->ld != c_layout->ld))
    fail("D of a product overlaps C without being it");
  product.splits = algo->data[kSplits] != 0;
  char* const scratch = static_cast<char*>(workspace);
  const size_t used = algo->data[kWorkspace];
  const cudaError_t error = append(stream, [product, scratch, used] {
    return [product, scratch, used] {
      fill_poison(scratch, used);  // whoever shares it finds it so
      product.run();
      expect_guards_intact();
    };
  });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
