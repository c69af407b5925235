#include "rope.h"

#include "hand_off.h"

namespace humanizer::HUMANIZER_ISA {

void rope(Rows x, const int32_t* positions, const float* table, int64_t head_size, bool backward) {
  const int64_t half = head_size / 2;
  const float sign = backward ? -1.0f : 1.0f;
#pragma omp parallel for schedule(static) if (x.rows * x.cols > kWorthThreads)
  for (int64_t r = 0; r < x.rows; ++r) {
    const float* cosine = table + positions[r] * head_size;
    const float* sine = cosine + half;
    for (int64_t h = 0; h < x.cols; h += head_size) {
      float *a = x.row(r) + h, *b = a + half;
#pragma omp simd
      for (int64_t i = 0; i < half; ++i) {
        const float s = sign * sine[i], first = a[i], second = b[i];
        a[i] = first * cosine[i] - second * s;
        b[i] = second * cosine[i] + first * s;
      }
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
