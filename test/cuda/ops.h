// The cases of the operations, by file.
#pragma once

namespace humanizer::cuda {

void weight_cases();
void elementwise_cases();
void training_cases();
void attention_cases();
void product_cases();
void row_cases();
void token_cases();
void large_cases();

}  // namespace humanizer::cuda
