// CUDA's runtime on the CPU, for the tests: the names of NVIDIA's header that the engine uses, with the meaning of the
// CUDA C++ Programming Guide and of the Runtime API's reference, held as strictly as a device could. What a device
// would leave undefined ends the process with a sentence (failure.h); what the runtime answers with an error code, this
// answers with the same code.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "device_types.h"
#include "runtime_api.h"
//
#include "device_functions.h"
#include "warp_functions.h"
