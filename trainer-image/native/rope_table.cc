#include <cmath>
#include <numbers>

#include "rope.h"

namespace humanizer {

std::vector<float> rope_frequencies(int64_t head_size, float theta, const RopeScaling& scaling) {
  std::vector<float> frequencies(static_cast<size_t>(head_size / 2));
  const float low_wavelength = scaling.original_max_positions / scaling.low_frequency_factor;
  const float high_wavelength = scaling.original_max_positions / scaling.high_frequency_factor;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float frequency = 1.0f / std::pow(theta, static_cast<float>(2 * i) / static_cast<float>(head_size));
    const float wavelength = 2 * std::numbers::pi_v<float> / frequency;
    const float smooth = (scaling.original_max_positions / wavelength - scaling.low_frequency_factor) /
                         (scaling.high_frequency_factor - scaling.low_frequency_factor);
    if (scaling.factor == 1 || wavelength < high_wavelength) {
      frequencies[i] = frequency;
    } else if (wavelength > low_wavelength) {
      frequencies[i] = frequency / scaling.factor;
    } else {
      frequencies[i] = (1 - smooth) * frequency / scaling.factor + smooth * frequency;
    }
  }
  return frequencies;
}

void rope_table(float* table, const std::vector<float>& frequencies, int64_t positions) {
  const int64_t half = static_cast<int64_t>(frequencies.size());
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(p) * frequencies[static_cast<size_t>(i)];
      table[p * 2 * half + i] = std::cos(angle);
      table[p * 2 * half + half + i] = std::sin(angle);
    }
  }
}

}  // namespace humanizer
