// Every CUDA kernel on the emulated device against the .cc of the same op: odd shapes, tails, one row, long rows, both
// types, the same bits under eight orders of threads. Prints "ok NAME" or "not ok NAME: WHY" for cuda.test.ts.
#include "ops.h"

int main() {
  humanizer::cuda::weight_cases();
  humanizer::cuda::elementwise_cases();
  humanizer::cuda::training_cases();
  humanizer::cuda::attention_cases();
}
