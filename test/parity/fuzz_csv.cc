#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "csv_scan.h"
#include "fuzz.h"

namespace humanizer {

namespace {

// What a scan found so far: its records as text, a kind before each.
struct Csv {
  std::string records;
  int64_t breaks = 0;
  bool refused = false;
  bool beyond = false;  // the fault is said to be where there are no bytes
};

// The bytes in pieces of `size`; each scan has a block of its own, as long as its bytes, so that a look beyond is seen.
Csv scan_csv(const std::vector<uint8_t>& bytes, size_t size, size_t columns) {
  CsvScanner scanner(',', columns, {static_cast<uint32_t>(columns - 1), 0}, 1, 3);
  Csv csv;
  size_t taken = 0;
  for (size_t end = std::min(size, bytes.size());; end = std::min(end + size, bytes.size())) {
    const std::vector<uint8_t> piece(bytes.begin() + static_cast<std::ptrdiff_t>(taken),
                                     bytes.begin() + static_cast<std::ptrdiff_t>(end));
    const CsvScan scan = scanner.scan(piece, 0, end == bytes.size());
    if (scan.fault != CsvFault::kNone) {
      csv.refused = true;
      csv.beyond = scan.fault_at >= piece.size();
      return csv;
    }
    for (size_t i = 0; i < scan.fields.size(); ++i) {
      const auto [begin, stop] = scan.fields[i];
      if (i % 2 == 0) csv.records += '0' + static_cast<char>(scan.kinds.at(i / 2) % 10);
      for (auto at = static_cast<size_t>(begin < 0 ? ~begin : begin); at < static_cast<size_t>(stop); ++at) {
        csv.records += static_cast<char>(piece.at(at));
      }
      csv.records += begin < 0 ? ';' : ',';
    }
    taken += scan.taken;
    csv.breaks += scan.breaks;
    if (end == bytes.size()) return csv;
  }
}

}  // namespace

// However it is divided, CSV is the same records and line breaks or is refused.
void fuzz_csv(Tally& tally) {
  static const std::vector<std::string> parts = {"a",  "bc", "\"", "\"",   "\"\"",         ",",        ",",
                                                 "\n", "\n", "\r", "\r\n", "\xe2\x80\xa8", "\xff\xc2", " "};
  std::vector<uint8_t> bytes;
  for (int64_t count = draw(generator, 1, chance(9) ? 200 : 7); count > 0; --count) {
    for (int64_t times = chance(9) ? draw(generator, 1, 40) : 1; times > 0; --times) {
      const std::string& part = any(parts);
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
  }
  const auto columns = static_cast<size_t>(chance(4) ? 3 : draw(generator, 1, 2));
  const Csv whole = scan_csv(bytes, bytes.size(), columns);
  const Csv divided = scan_csv(bytes, static_cast<size_t>(draw(generator, 1, 40)), columns);
  if (whole.beyond || divided.beyond) tally.why = "a fault beyond the end";
  if (whole.refused != divided.refused ||
      (!whole.refused && (whole.records != divided.records || whole.breaks != divided.breaks))) {
    tally.why = "in pieces: " + divided.records + " instead of " + whole.records;
  }
  ++(whole.refused ? tally.refused : tally.loaded);
}

}  // namespace humanizer
