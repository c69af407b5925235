// The emulated device of test/cuda: what it computes, and that each of its checks can fail. Prints "ok NAME" or
// "not ok NAME: WHY" for each case, for cuda.test.ts.
#include "contract.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace humanizer::cuda {

void holds(const char* name, const std::string& problem) {
  std::printf(problem.empty() ? "ok %s\n" : "not ok %s: %s\n", name, problem.c_str());
}

void refuses(const char* name, const char* expected, void (*broken)()) {
  std::fflush(stdout);
  int ends[2];
  if (pipe(ends) != 0) return holds(name, "no pipe");
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    broken();
    _exit(0);
  }
  close(ends[1]);
  std::string said;
  char buffer[1024];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, static_cast<size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return holds(name, "nothing was refused");
  holds(name, said.find(expected) != std::string::npos ? "" : "it said: " + said.substr(0, said.find('\n')));
}

}  // namespace humanizer::cuda

int main() {
  humanizer::cuda::contract_cases();
  humanizer::cuda::broken_cases();
  humanizer::cuda::broken_streams();
  humanizer::cuda::product_cases();
}
