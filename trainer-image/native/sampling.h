// The next token of a sequence from its logits z (R, V), a row each. With z' = z less the penalties,
//   greedy   the largest z'
//   drawn    from softmax(z' / temperature), of which the smallest set of likeliest tokens that reaches top_p is kept
// The lower index goes first among equals, and a NaN is never chosen while there is a number.
//
// Every backend chooses the same token from the same logits: a token's weight exp((z' - max z') / temperature) is f32
// by exp_approx, and a whole number of kWeightUnits when weights are added, so that no sum depends on its order. What
// is lighter than one unit is never drawn.
#pragma once

#include <cstdint>

#include "tensor.h"

namespace humanizer {

inline constexpr float kWeightUnits = 1099511627776.0f;  // 2^40: a vocabulary of 2^20 stays within 64 bits
inline constexpr int kMostAlternatives = 20;

// Each token once for a row.
struct Penalty {
  int32_t token;
  float amount;
};

struct TokenChoice {
  float inverse_temperature;  // finite; 0: greedy
  int32_t alternatives;       // of the likeliest to tell, at most kMostAlternatives; -1: no probability is told
  double top_p, random;       // in [0, 1], in [0, 1)
  int32_t first_penalty, end_penalty;
};

// What became of a row. Of its probabilities, which are the model's own: before temperature, top_p and penalties.
struct SampledToken {
  int32_t id;
  float logit;                     // of the row as it came; when it is not finite, there was no finite choice
  float maximum;                   // the rest only where alternatives >= 0
  uint64_t total;                  // of exp(z - maximum), in kWeightUnits
  int32_t top[kMostAlternatives];  // the largest first; -1: the vocabulary has no more
  float top_logits[kMostAlternatives];
};

// penalties: of all rows. weights (R, V): scratch.
using SampleTokens = void(SampledToken* out, ConstRows z, Rows weights, const TokenChoice* choices,
                          const Penalty* penalties);

SampleTokens sample_tokens;  // the CPU's

// Of a temperature that may be 0: not negative, and a multiplication by it overflows to nothing but an infinity.
float inverse_temperature(double temperature);
// log p of a logit of a row whose probabilities are told.
double log_probability(const SampledToken& row, float logit);

}  // namespace humanizer
