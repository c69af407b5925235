// Every CUDA kernel on the emulated device against the .cc of the same op: odd shapes, tails, one row, long rows, both
// types, the same bits under eight orders of threads. Prints "ok NAME" or "not ok NAME: WHY" for cuda.test.ts and
// test/gpu, where the device is a GPU. Arguments name the groups of cases to run.
#include "ops.h"

#include <string_view>
#include <utility>

int main(int count, char** arguments) {
  using namespace humanizer::cuda;
  constexpr std::pair<std::string_view, void (*)()> groups[] = {
      {"weights", weight_cases},    {"elementwise", elementwise_cases},
      {"training", training_cases}, {"attention", attention_cases},
      {"products", product_cases},  {"rows", row_cases},
      {"tokens", token_cases},      {"large", large_cases}};
  for (const auto& [name, cases] : groups) {
    bool asked = count == 1;
    for (int i = 1; i < count; ++i) asked = asked || name == arguments[i];
    if (asked) cases();
  }
}
