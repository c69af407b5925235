// What the cases of step.cu and step_streams.cu share.
#pragma once

#include <string>

#include "step_model.h"

namespace humanizer::cuda {

// "ok NAME" or "not ok NAME: WHY"
void report(const std::string& name, const std::string& problem);
// What of the two is not the same bits; else empty.
std::string same(const Record& a, const Record& b);

// step_streams.cu
void captured();
void kept();
void offloaded();
void large_blocks();
void broken_steps();

}  // namespace humanizer::cuda
