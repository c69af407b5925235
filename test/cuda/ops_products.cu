// The large products by cuBLASLt's stand-in against matmul.h on the host.
#include "cublaslt.h"
#include "op_case.h"

namespace humanizer::cuda {

namespace {

struct Sizes {
  int64_t rows, cols, depth;
  int64_t apart = 0;  // values between the rows of every matrix
};

// T: of the operands, C: of the result. bf16 operands are exact in f32, so that only a bf16 result is rounded.
template <class T, class C>
void product(Transpose transpose, const Sizes& s, float alpha, float beta) {
  const bool a_transposed = transpose == Transpose::kTN, b_transposed = transpose == Transpose::kNT;
  const int64_t a_rows = a_transposed ? s.depth : s.rows, a_cols = a_transposed ? s.rows : s.depth;
  const int64_t b_rows = b_transposed ? s.cols : s.depth, b_cols = b_transposed ? s.depth : s.cols;
  const std::vector<T> a = random_values<T>(a_rows * (a_cols + s.apart)),
                       b = random_values<T>(b_rows * (b_cols + s.apart));
  const std::vector<C> c = random_values<C>(s.rows * (s.cols + s.apart));
  std::vector<float> expected = floats(c);
  const std::vector<float> a_host = floats(a), b_host = floats(b);
  matmul({expected.data(), s.rows, s.cols, s.cols + s.apart}, {a_host.data(), a_rows, a_cols, a_cols + s.apart},
         {b_host.data(), b_rows, b_cols, b_cols + s.apart}, transpose, alpha, beta);
  check(named("product", name_of<T>(), {static_cast<int64_t>(transpose), s.rows, s.cols, s.depth, s.apart}) +
            (std::is_same_v<T, C> ? "" : " to f32"),
        expected, bound_of<C>(), [&](cudaStream_t stream) {
          const Device<T> from_a(a), from_b(b);
          const Device<C> to(c);
          Products products(4 << 20);
          const View<const T> left{from_a.data(), a_rows, a_cols, a_cols + s.apart},
              right{from_b.data(), b_rows, b_cols, b_cols + s.apart};
          products.multiply<T, C>(stream, {to.data(), s.rows, s.cols, s.cols + s.apart}, left, right, transpose, alpha,
                                  beta);
          expect(cudaStreamSynchronize(stream));
          return to.values();
        });
}

template <class T, class C>
void all_transpositions() {
  for (const Transpose transpose : {Transpose::kNN, Transpose::kNT, Transpose::kTN}) {
    product<T, C>(transpose, {1, 1, 1}, 1, 0);
    product<T, C>(transpose, {33, 24, 65}, 1, 1);
    product<T, C>(transpose, {64, 40, 128, 8}, 0.5f, 0);
    product<T, C>(transpose, {7, 129, 31, 3}, 1, 1);
  }
}

}  // namespace

void product_cases() {
  generator.seed(5);
  all_transpositions<float, float>();
  all_transpositions<bf16, bf16>();
  all_transpositions<bf16, float>();
}

}  // namespace humanizer::cuda
