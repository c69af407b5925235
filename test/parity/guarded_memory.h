// memory.cc's mmap and munmap in the programs that are linked with --wrap: every large block of the engine ends at a
// page that nobody may touch and begins after another, and the test says which request the system refuses.
#pragma once

#include <cstdint>

// The request, counted from now, that is refused: 0 is the next. Negative: none is.
void refuse_block(int64_t which);
