#include "csv_scan.h"

#include <cstring>
#include <utility>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace humanizer {
namespace {

constexpr uint8_t kLf = '\n', kCr = '\r', kQuote = '"';

// The first delimiter, LF or CR from `at` on; `length` where there is none.
size_t find_field_end(const uint8_t* bytes, size_t at, size_t length, uint8_t delimiter) {
#ifdef __SSE2__
  const __m128i delimiters = _mm_set1_epi8(static_cast<char>(delimiter));
  const __m128i lfs = _mm_set1_epi8(kLf), crs = _mm_set1_epi8(kCr);
  for (; at + 16 <= length; at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + at));
    const __m128i found = _mm_or_si128(_mm_cmpeq_epi8(block, delimiters),
                                       _mm_or_si128(_mm_cmpeq_epi8(block, lfs), _mm_cmpeq_epi8(block, crs)));
    const int mask = _mm_movemask_epi8(found);
    if (mask != 0) return at + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(mask)));
  }
#endif
  for (; at < length; ++at) {
    if (bytes[at] == delimiter || bytes[at] == kLf || bytes[at] == kCr) break;
  }
  return at;
}

// The C library's memchr has vectors of every width.
size_t find(const uint8_t* bytes, size_t at, size_t length, uint8_t byte) {
  if (at >= length) return length;
  const void* found = std::memchr(bytes + at, byte, length - at);
  return found ? static_cast<size_t>(static_cast<const uint8_t*>(found) - bytes) : length;
}

// Line breaks in [begin, end): a CR counts where no LF follows it.
int64_t breaks_in(std::span<const uint8_t> bytes, size_t begin, size_t end) {
  int64_t breaks = 0;
  for (size_t at = begin; at < end;) {
    uint8_t few = 0;  // of so few that a byte counts them: the compiler adds sixteen at a time
    const size_t stop = end - at < 240 ? end : at + 240;
    for (; at < stop; ++at) few = static_cast<uint8_t>(few + (bytes[at] == kLf));
    breaks += few;
  }
  for (size_t at = find(bytes.data(), begin, end, kCr); at < end; at = find(bytes.data(), at + 1, end, kCr)) {
    if (at + 1 >= bytes.size() || bytes[at + 1] != kLf) ++breaks;
  }
  return breaks;
}

// Bytes of the white space that begins there, as JavaScript's trim has it; 0: there is none.
size_t white_space(const uint8_t* bytes, size_t length) {
  if (bytes[0] == ' ' || (bytes[0] >= '\t' && bytes[0] <= '\r')) return 1;
  if (length >= 2 && bytes[0] == 0xc2 && bytes[1] == 0xa0) return 2;
  if (length < 3) return 0;
  const uint32_t point = (bytes[0] & 0x0fu) << 12 | (bytes[1] & 0x3fu) << 6 | (bytes[2] & 0x3fu);
  const bool is_space = (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 || point == 0x1680 ||
                        point == 0x202f || point == 0x205f || point == 0x3000 || point == 0xfeff;
  return (bytes[0] & 0xf0) == 0xe0 && is_space ? 3 : 0;
}

bool is_blank(const uint8_t* bytes, const CsvField& field) {
  for (auto at = static_cast<size_t>(field.begin), end = static_cast<size_t>(field.end); at < end;) {
    const size_t space = white_space(bytes + at, end - at);
    if (space == 0) return false;
    at += space;
  }
  return true;
}

}  // namespace

size_t csv_record(CsvRecord& record, std::span<const uint8_t> bytes, size_t begin, uint8_t delimiter, bool ended) {
  const size_t length = bytes.size();
  record.fields.clear();
  record.quoted = false;
  record.fault = CsvFault::kNone;
  if (begin >= length) return begin;
  const auto refuse = [&](CsvFault fault, size_t at) {
    record.fault = fault;
    record.fault_at = at;
    return begin;
  };
  for (size_t at = begin;;) {
    if (at < length && bytes[at] == kQuote) {
      record.quoted = true;
      bool doubled = false;
      size_t close = find(bytes.data(), at + 1, length, kQuote);
      for (; close + 1 < length && bytes[close + 1] == kQuote; close = find(bytes.data(), close + 2, length, kQuote)) {
        doubled = true;
      }
      if (close >= length && ended) return refuse(CsvFault::kQuoteNeverClosed, at);
      // A quote at the end of the bytes so far may be the first of two.
      if (close >= length || (close + 1 == length && !ended)) return begin;
      const auto first = static_cast<int32_t>(at + 1);
      record.fields.push_back({doubled ? ~first : first, static_cast<int32_t>(close)});
      at = close + 1;
      if (at < length && bytes[at] != delimiter && bytes[at] != kLf && bytes[at] != kCr) {
        return refuse(CsvFault::kTextBehindQuote, at);
      }
    } else {
      const size_t end = find_field_end(bytes.data(), at, length, delimiter);
      record.fields.push_back({static_cast<int32_t>(at), static_cast<int32_t>(end)});
      at = end;
    }
    if (at >= length) return ended ? length : begin;
    const uint8_t end = bytes[at++];
    if (end == delimiter) continue;
    if (end == kCr && at == length && !ended) return begin;
    return end == kCr && at < length && bytes[at] == kLf ? at + 1 : at;
  }
}

CsvScanner::CsvScanner(uint8_t delimiter, size_t columns, std::vector<uint32_t> wanted, size_t deciding,
                       size_t most_kinds)
    : delimiter_(delimiter),
      columns_(columns),
      wanted_(std::move(wanted)),
      deciding_(deciding),
      most_kinds_(most_kinds) {}

CsvScan CsvScanner::scan(std::span<const uint8_t> bytes, size_t begin, bool ended) {
  CsvScan scan;
  scan.taken = begin;
  while (scan.taken < bytes.size()) {
    const size_t next = csv_record(record_, bytes, scan.taken, delimiter_, ended);
    if (record_.fault != CsvFault::kNone) {
      scan.fault = record_.fault;
      scan.fault_at = record_.fault_at;
      return scan;
    }
    if (next == scan.taken) break;
    const bool blank = record_.fields.size() == 1 && !record_.quoted && is_blank(bytes.data(), record_.fields[0]);
    if (!blank && record_.fields.size() != columns_) {
      scan.fault = CsvFault::kFieldCount;
      scan.fault_at = scan.taken;
      scan.fault_fields = record_.fields.size();
      return scan;
    }
    if (!blank) take(scan, bytes.data());
    scan.taken = next;
  }
  scan.breaks = breaks_in(bytes, 0, scan.taken);
  return scan;
}

void CsvScanner::take(CsvScan& scan, const uint8_t* bytes) {
  const size_t first = scan.fields.size();
  for (const uint32_t column : wanted_) scan.fields.push_back(record_.fields[column]);
  if (deciding_ > 0) scan.kinds.push_back(kind_of(scan, bytes, scan.fields.data() + first));
  ++scan.records;
}

uint16_t CsvScanner::kind_of(CsvScan& scan, const uint8_t* bytes, const CsvField* fields) {
  key_.clear();
  for (size_t i = 0; i < deciding_; ++i) {
    const bool doubled = fields[i].begin < 0;
    const auto begin = static_cast<size_t>(doubled ? ~fields[i].begin : fields[i].begin);
    const size_t size = static_cast<size_t>(fields[i].end) - begin;
    const size_t told = size << 1 | (doubled ? 1 : 0);
    key_.append(reinterpret_cast<const char*>(&told), sizeof told);
    key_.append(reinterpret_cast<const char*>(bytes + begin), size);
  }
  const auto known = kinds_.find(key_);
  if (known != kinds_.end()) return known->second;
  if (kinds_.size() >= most_kinds_) return CsvScan::kUnlisted;
  const auto kind = static_cast<uint16_t>(kinds_.size());
  kinds_.emplace(key_, kind);
  scan.new_kinds.push_back(static_cast<uint32_t>(scan.records));
  return kind;
}

}  // namespace humanizer
