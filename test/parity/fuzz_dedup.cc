#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "dedup.h"
#include "fuzz.h"

namespace humanizer {
namespace {

struct Texts {
  std::string bytes;
  std::vector<uint32_t> ends;
};

// Families of texts with few changes in each: small buckets and large ones, pairs around the threshold, short texts.
Texts random_texts() {
  Texts texts;
  for (int64_t families = draw(generator, 1, 3); families > 0; --families) {
    std::vector<std::string> family;
    for (int64_t words = draw(generator, 0, chance(4) ? 200 : 45); words > 0; --words)
      family.push_back(std::to_string(draw(generator, 0, chance(3) ? 9 : 99999)));
    const int64_t changes = draw(generator, 0, 6);
    for (int64_t members = draw(generator, 1, chance(3) ? 90 : 12); members > 0; --members) {
      std::vector<std::string> words = family;
      for (int64_t change = changes; change > 0 && !words.empty(); --change)
        words[static_cast<size_t>(draw(generator, 0, static_cast<int64_t>(words.size()) - 1))] =
            std::to_string(draw(generator, 0, 99999));
      for (const std::string& word : words) texts.bytes.append(word).append(" ");
      texts.ends.push_back(static_cast<uint32_t>(texts.bytes.size()));
    }
  }
  return texts;
}

std::vector<uint32_t> clusters(const Texts& texts, int threads, size_t at_once, size_t memory, const char* folder) {
  NearDuplicates index(0.8, 5, threads, memory, folder);
  for (size_t first = 0; first < texts.ends.size(); first += at_once) {
    const size_t begin = first == 0 ? 0 : texts.ends[first - 1];
    std::vector<uint32_t> ends;
    for (size_t i = first; i < std::min(first + at_once, texts.ends.size()); ++i)
      ends.push_back(texts.ends[i] - static_cast<uint32_t>(begin));
    index.add(std::string_view(texts.bytes).substr(begin, ends.back()), ends.data(), ends.size());
  }
  return index.clusters();
}

}  // namespace

// However many threads, whatever memory and division into calls: the same clusters.
void fuzz_dedup(Tally& tally) {
  const Texts texts = random_texts();
  const std::vector<uint32_t> expected = clusters(texts, 1, texts.ends.size(), 0, "");
  const size_t memory = static_cast<size_t>(chance(3) ? 0 : draw(generator, 0, 1 << 17));
  const auto at_once = static_cast<size_t>(draw(generator, 1, static_cast<int64_t>(texts.ends.size())));
  try {
    if (clusters(texts, static_cast<int>(draw(generator, 1, 4)), at_once, memory, "/tmp") != expected)
      tally.why = "other clusters with " + std::to_string(memory) + " bytes of memory, " + std::to_string(at_once) +
                  " texts at once";
  } catch (const std::exception& error) {
    tally.why = error.what();
  }
  size_t joined = 0;
  for (size_t i = 0; i < expected.size(); ++i) joined += expected[i] != i;
  ++(4 * joined > expected.size() ? tally.loaded : tally.refused);
}

}  // namespace humanizer
