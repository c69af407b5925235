#pragma once

#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace humanizer {

// Calls body(part) for each part on a thread of its own; rethrows the first error. Parts for which the system gives no
// thread run on the calling one.
template <typename Body>
void in_parts(size_t parts, const Body& body) {
  std::vector<std::exception_ptr> errors(parts);
  const auto run = [&](size_t part) {
    try {
      body(part);
    } catch (...) {
      errors[part] = std::current_exception();
    }
  };
  std::vector<std::thread> workers;
  workers.reserve(parts);
  size_t given = 1;
  try {
    for (; given < parts; given++) workers.emplace_back(run, given);
  } catch (const std::exception&) {
  }
  if (parts > 0) run(0);
  for (size_t part = given; part < parts; part++) run(part);
  for (std::thread& worker : workers) worker.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace humanizer
