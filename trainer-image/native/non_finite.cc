#include "non_finite.h"

#include <cmath>

#include "formats.h"

namespace humanizer {

namespace {

bool finite(const float* values, int64_t count) {
  return all_finite(reinterpret_cast<const uint8_t*>(values), count * static_cast<int64_t>(sizeof(float)),
                    Format::kF32);
}

}  // namespace

void non_finite_rows(int32_t* flag, ConstRows x, const double* sum) {
  if (std::isfinite(*sum)) return;
  *flag = 0;
  for (int64_t r = 0; r < x.rows && *flag == 0; ++r) *flag = finite(x.row(r), x.cols) ? 0 : 1;
}

void non_finite_parts(int32_t* flag, const float* values, const int64_t* begin, int64_t parts,
                      const GradientNorm* norm) {
  if (norm->skip == 0) return;
  for (int64_t p = 0; p < parts; ++p) flag[p] = finite(values + begin[p], begin[p + 1] - begin[p]) ? 0 : 1;
}

}  // namespace humanizer
