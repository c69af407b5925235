#include "lora.h"

#include "matmul.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

// mask = keep(t, c) for the rows of x.
void draw_mask(uint32_t* mask, ConstRows x, const Dropout& d) {
  const auto threshold = static_cast<uint32_t>(static_cast<double>(d.rate) * 4294967296.0);
  const int64_t groups = mask_words(1, x.cols);
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < x.rows; ++t) {
    alignas(64) uint32_t words[32];
    for (int64_t g = 0; g < groups; ++g) {
      philox_group(words, d.key, d.step, d.ordinal[t], d.position[t], static_cast<uint32_t>(g));
      uint32_t bits = 0;
#pragma omp simd reduction(| : bits)
      for (uint32_t c = 0; c < 32; ++c) bits |= (words[c] >= threshold ? 1u : 0u) << c;
      mask[t * groups + g] = bits;
    }
  }
}

// y = x where the mask keeps it, scaled, else 0; kAccumulate: y += that.
template <bool kAccumulate>
void apply_mask(Rows y, ConstRows x, const uint32_t* mask, float rate) {
  const float scale = 1.0f / (1.0f - rate);
  const int64_t groups = mask_words(1, x.cols);
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* in = x.row(t);
    float* out = y.row(t);
    for (int64_t begin = 0; begin < x.cols; begin += 32) {
      const uint32_t bits = mask[t * groups + begin / 32];
      const int64_t size = begin + 32 < x.cols ? 32 : x.cols - begin;
#pragma omp simd
      for (int64_t c = 0; c < size; ++c) {
        const float kept = (bits >> c & 1u) != 0 ? in[begin + c] * scale : 0.0f;
        out[begin + c] = kAccumulate ? out[begin + c] + kept : kept;
      }
    }
  }
}

ConstRows dropped(ConstRows x, const uint32_t* mask, const Dropout& dropout, float* scratch) {
  if (dropout.rate == 0) return x;
  const Rows out = dense(scratch, x.rows, x.cols);
  apply_mask<false>(out, x, mask, dropout.rate);
  return out;
}

}  // namespace

void lora_forward(Rows y, Rows h, uint32_t* mask, ConstRows x, const LoraWeights& w, const Dropout& dropout,
                  float* scratch) {
  if (dropout.rate != 0) draw_mask(mask, x, dropout);
  matmul(h, dropped(x, mask, dropout, scratch), dense(w.a, w.rank, x.cols), Transpose::kNT, 1, 0);
  matmul(y, h, dense(w.b, y.cols, w.rank), Transpose::kNT, w.scale, 1);
}

void lora_backward(Rows dx, float* da, float* db, ConstRows dy, ConstRows x, ConstRows h, const uint32_t* mask,
                   const LoraWeights& w, const Dropout& dropout, float* scratch) {
  const Rows dh = dense(scratch, x.rows, w.rank);
  float* wide = scratch + x.rows * w.rank;
  matmul(dense(db, dy.cols, w.rank), dy, h, Transpose::kTN, w.scale, 1);
  matmul(dh, dy, dense(w.b, dy.cols, w.rank), Transpose::kNN, w.scale, 0);
  matmul(dense(da, w.rank, x.cols), dh, dropped(x, mask, dropout, wide), Transpose::kTN, 1, 1);
  if (!dx.data) return;
  if (dropout.rate == 0) {
    matmul(dx, dh, dense(w.a, w.rank, x.cols), Transpose::kNN, 1, 1);
  } else {
    const Rows through = dense(wide, x.rows, x.cols);
    matmul(through, dh, dense(w.a, w.rank, x.cols), Transpose::kNN, 1, 0);
    apply_mask<true>(dx, through, mask, dropout.rate);
  }
}

}  // namespace humanizer::HUMANIZER_ISA
