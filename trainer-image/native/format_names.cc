#include <string>

#include "error.h"
#include "formats.h"

namespace humanizer {

FormatSize format_size(Format format) {
  switch (format) {
    case Format::kF32:
      return {1, 4};
    case Format::kF16:
    case Format::kBF16:
      return {1, 2};
    case Format::kQ8_0:
      return {32, 34};
    case Format::kQ4_0:
      return {32, 18};
    case Format::kQ4_1:
      return {32, 20};
    case Format::kQ6_K:
      return {256, 210};
  }
  throw Error(Code::kInternal, "unknown weight format");
}

Format parse_format(std::string_view name) {
  if (name == "F32") return Format::kF32;
  if (name == "F16") return Format::kF16;
  if (name == "BF16") return Format::kBF16;
  if (name == "Q8_0") return Format::kQ8_0;
  if (name == "Q4_0") return Format::kQ4_0;
  if (name == "Q4_1") return Format::kQ4_1;
  if (name == "Q6_K") return Format::kQ6_K;
  throw Error(Code::kInvalidArgument,
              "dtype '" + std::string(name) + "' is not one of F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q6_K");
}

}  // namespace humanizer
