#include "attention.h"

#include <omp.h>

#include <cmath>
#include <cstring>
#include <exception>

#include "matmul.h"
#include "vector_math.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// An exception must not leave a parallel region: the first of any thread waits here for the end of it.
class FailureGuard {
 public:
  template <class Work>
  void run(Work work) {
    try {
      work();
    } catch (...) {
#pragma omp critical(attention_failure)
      if (!failure_) failure_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::exception_ptr failure_;
};

// Two score tiles and two row vectors for each thread.
struct Scratch {
  float *p, *dp, *maximum, *sum;
};
Scratch scratch_of(float* base) {
  constexpr int64_t tile = kQueryTile * kKeyTile;
  float* mine = base + omp_get_thread_num() * 2 * (tile + kQueryTile);
  return {mine, mine + tile, mine + 2 * tile, mine + 2 * tile + kQueryTile};
}

Rows head(Rows x, int64_t h, int64_t size, int64_t begin, int64_t rows) {
  return columns(slice(x, begin, rows), h * size, size);
}
ConstRows head(ConstRows x, int64_t h, int64_t size, int64_t begin, int64_t rows) {
  return columns(slice(x, begin, rows), h * size, size);
}

// p = exp(score - maximum) over the visible keys of one row, 0 beyond; returns the row's sum.
float exponentiate(float* p, int64_t visible, int64_t width, float maximum) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < visible; ++j) {
    p[j] = exp_approx(p[j] - maximum);
    sum += p[j];
  }
  for (int64_t j = visible; j < width; ++j) p[j] = 0;
  return sum;
}

void forward_tile(const AttentionSpan& span, const AttentionShape& s, int64_t h, int64_t q0, const Scratch& scratch) {
  const int64_t rows = smaller(kQueryTile, span.q.rows - q0), kv = h / (s.heads / s.kv_heads);
  const int64_t past = span.k.rows - span.q.rows, last = past + q0 + rows;  // keys that the last row sees
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.head_size));
  const Rows out = head(span.out, h, s.head_size, q0, rows);
  for (int64_t i = 0; i < rows; ++i) {
    scratch.maximum[i] = -INFINITY;
    scratch.sum[i] = 0;
    std::memset(out.row(i), 0, static_cast<size_t>(s.head_size) * sizeof(float));
  }
  for (int64_t k0 = 0; k0 < last; k0 += kKeyTile) {
    const int64_t width = smaller(kKeyTile, last - k0);
    const Rows p = {scratch.p, rows, width, kKeyTile};
    matmul(p, head(span.q, h, s.head_size, q0, rows), head(span.k, kv, s.head_size, k0, width), Transpose::kNT, scale,
           0);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t seen = past + q0 + i + 1 - k0, visible = seen < 0 ? 0 : smaller(seen, width);
      float* row = p.row(i);
      float maximum = scratch.maximum[i];
#pragma omp simd reduction(max : maximum)
      for (int64_t j = 0; j < visible; ++j) maximum = row[j] > maximum ? row[j] : maximum;
      const float correction = scratch.sum[i] == 0 ? 0.0f : exp_approx(scratch.maximum[i] - maximum);
      const float sum = exponentiate(row, visible, width, maximum);
      if (visible == 0) continue;
      scratch.sum[i] = scratch.sum[i] * correction + sum;
      scratch.maximum[i] = maximum;
      float* o = out.row(i);
#pragma omp simd
      for (int64_t c = 0; c < s.head_size; ++c) o[c] *= correction;
    }
    matmul(out, p, head(span.v, kv, s.head_size, k0, width), Transpose::kNN, 1, 1);
  }
  for (int64_t i = 0; i < rows; ++i) {
    float* o = out.row(i);
    const float reciprocal = 1.0f / scratch.sum[i];
#pragma omp simd
    for (int64_t c = 0; c < s.head_size; ++c) o[c] *= reciprocal;
    span.lse[(q0 + i) * s.heads + h] = scratch.maximum[i] + std::log(scratch.sum[i]);
  }
}

// delta[i] = dout[i] . out[i], the term that the softmax's backward subtracts.
void rows_dot(float* delta, ConstRows a, ConstRows b) {
  for (int64_t i = 0; i < a.rows; ++i) {
    const float *x = a.row(i), *y = b.row(i);
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t c = 0; c < a.cols; ++c) dot += x[c] * y[c];
    delta[i] = dot;
  }
}

// dk, dv (keys, D): of this query head alone.
void backward_head(const AttentionSpan& span, const AttentionGradients& g, const AttentionShape& s, int64_t h, Rows dk,
                   Rows dv, float* delta, const Scratch& scratch) {
  const int64_t rows = span.q.rows, size = s.head_size, kv = h / (s.heads / s.kv_heads);
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  rows_dot(delta, head(g.dout, h, size, 0, rows), head(ConstRows(span.out), h, size, 0, rows));
  for (int64_t k0 = 0; k0 < rows; k0 += kKeyTile) {
    const int64_t width = smaller(kKeyTile, rows - k0);
    const ConstRows k = head(span.k, kv, size, k0, width), v = head(span.v, kv, size, k0, width);
    const int64_t first = k0 / kQueryTile * kQueryTile;  // queries before it see none of these keys
    for (int64_t q0 = first; q0 < rows; q0 += kQueryTile) {
      const int64_t height = smaller(kQueryTile, rows - q0);
      const float fresh_dk = q0 == first ? 0.0f : 1.0f, fresh_dq = k0 == 0 ? 0.0f : 1.0f;
      const Rows p = {scratch.p, height, width, kKeyTile}, ds = {scratch.dp, height, width, kKeyTile};
      const ConstRows q = head(span.q, h, size, q0, height), dout = head(g.dout, h, size, q0, height);
      matmul(p, q, k, Transpose::kNT, scale, 0);
      matmul(ds, dout, v, Transpose::kNT, 1, 0);
      for (int64_t i = 0; i < height; ++i) {
        const int64_t seen = q0 + i + 1 - k0, visible = seen < 0 ? 0 : smaller(seen, width);
        float *row = p.row(i), *drow = ds.row(i);
        exponentiate(row, visible, width, span.lse[(q0 + i) * s.heads + h]);
        const float d = delta[q0 + i];
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) drow[j] = row[j] * (drow[j] - d) * scale;
      }
      matmul(slice(dv, k0, width), p, dout, Transpose::kTN, 1, fresh_dk);
      matmul(slice(dk, k0, width), ds, q, Transpose::kTN, 1, fresh_dk);
      matmul(head(g.dq, h, size, q0, height), ds, k, Transpose::kNN, 1, fresh_dq);
    }
  }
}

}  // namespace

void attention_forward(const AttentionSpan* spans, int64_t count, const AttentionShape& s, float* scratch) {
  FailureGuard guard;
#pragma omp parallel
  {
    const Scratch mine = scratch_of(scratch);
    for (int64_t n = 0; n < count; ++n) {
      const int64_t tiles = (spans[n].q.rows + kQueryTile - 1) / kQueryTile;
#pragma omp for schedule(dynamic) nowait
      for (int64_t task = 0; task < tiles * s.heads; ++task) {
        guard.run([&] { forward_tile(spans[n], s, task % s.heads, task / s.heads * kQueryTile, mine); });
      }
    }
  }
  guard.rethrow();
}

void attention_backward(const AttentionSpan* spans, const AttentionGradients* gradients, int64_t count,
                        const AttentionShape& s, float* scratch) {
  float* per_head = scratch + omp_get_max_threads() * 2 * kQueryTile * (kKeyTile + 1);
  const int64_t size = s.head_size, group = s.heads / s.kv_heads;
  FailureGuard guard;
#pragma omp parallel
  {
    const Scratch mine = scratch_of(scratch);
    float* span_scratch = per_head;
    for (int64_t n = 0; n < count; ++n) {
      const int64_t rows = spans[n].q.rows;
#pragma omp for schedule(dynamic) nowait
      for (int64_t h = 0; h < s.heads; ++h) {
        float* dk = span_scratch + h * rows * (2 * size + 1);
        float *dv = dk + rows * size, *delta = dv + rows * size;
        guard.run([&] {
          backward_head(spans[n], gradients[n], s, h, dense(dk, rows, size), dense(dv, rows, size), delta, mine);
        });
      }
      span_scratch += rows * s.heads * (2 * size + 1);
    }
#pragma omp barrier
    // The query heads of a group add up in their order: the same bits whatever thread made them.
    span_scratch = per_head;
    for (int64_t n = 0; n < count; ++n) {
      const int64_t rows = spans[n].q.rows, stride = rows * (2 * size + 1);
#pragma omp for schedule(static) nowait
      for (int64_t task = 0; task < rows * s.kv_heads; ++task) {
        const int64_t r = task / s.kv_heads, kv = task % s.kv_heads;
        const float* dk = span_scratch + kv * group * stride + r * size;
        float *dk_out = gradients[n].dk.row(r) + kv * size, *dv_out = gradients[n].dv.row(r) + kv * size;
        for (int64_t c = 0; c < size; ++c) {
          float sum_k = 0, sum_v = 0;
          for (int64_t member = 0; member < group; ++member) {
            sum_k += dk[member * stride + c];
            sum_v += dk[member * stride + rows * size + c];
          }
          dk_out[c] = sum_k;
          dv_out[c] = sum_v;
        }
      }
      span_scratch += rows * s.heads * (2 * size + 1);
    }
  }
  guard.rethrow();
}

}  // namespace humanizer::HUMANIZER_ISA
