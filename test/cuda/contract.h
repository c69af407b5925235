// Cases of the emulated device's own tests.
#pragma once

#include <string>

namespace humanizer::cuda {

// Runs `broken` in a process of its own; passes when that ends with a sentence that has `expected` in it.
void refuses(const char* name, const char* expected, void (*broken)());

// Passes when `problem` is empty.
void holds(const char* name, const std::string& problem);

void contract_cases();
void broken_cases();
void broken_streams();
void product_cases();

}  // namespace humanizer::cuda
