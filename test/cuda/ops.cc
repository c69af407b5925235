// Every CUDA kernel on the emulated device against the .cc of the same op: odd shapes, tails, one row, long rows, both
// types, the same bits under eight orders of threads. Prints "ok NAME" or "not ok NAME: WHY" for cuda.test.ts. An
// argument names the one group of cases to run.
#include "ops.h"

#include <string_view>
#include <utility>

int main(int count, char** arguments) {
  using namespace humanizer::cuda;
  constexpr std::pair<std::string_view, void (*)()> groups[] = {
      {"weights", weight_cases},      {"elementwise", elementwise_cases}, {"training", training_cases},
      {"attention", attention_cases}, {"products", product_cases},        {"rows", row_cases},
      {"large", large_cases}};
  for (const auto& [name, cases] : groups) {
    if (count == 1 || name == arguments[1]) cases();
  }
}
