// Where the records of a CSV file and their fields lie, as RFC 4180 has it, strictly: quotes that close, nothing behind
// a closing quote but a delimiter or the line's end, in each record as many fields as there are columns. A record ends
// with LF, CRLF or a CR alone; a quote within an unquoted field is a character; a line of white space is no record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace humanizer {

// Of a field its first byte and the one behind its last, without its quotes. The first is complemented (~) where quotes
// inside are doubled.
struct CsvField {
  int32_t begin, end;
};

enum class CsvFault { kNone, kFieldCount, kQuoteNeverClosed, kTextBehindQuote };

// The fields of one record.
struct CsvRecord {
  std::vector<CsvField> fields;
  bool quoted = false;  // one of them, the last if there are several
  CsvFault fault = CsvFault::kNone;
  size_t fault_at = 0;
};

// Where the record behind the one at `begin` begins; `begin` where it goes on beyond the bytes, or is at fault. More
// bytes may follow unless `ended`.
size_t csv_record(CsvRecord& record, std::span<const uint8_t> bytes, size_t begin, uint8_t delimiter, bool ended);

// What a piece of the file holds. A record's kind is what its deciding fields are: kinds are numbered as they come.
struct CsvScan {
  static constexpr uint16_t kUnlisted = 0xffff;  // beyond the kinds that are remembered

  size_t taken = 0;    // bytes of whole records
  int64_t breaks = 0;  // line breaks in these: LF, CRLF and a CR alone
  size_t records = 0;
  std::vector<CsvField> fields;     // of each record the wanted ones
  std::vector<uint16_t> kinds;      // of each record, where some fields decide
  std::vector<uint32_t> new_kinds;  // the first record of each kind that is new
  CsvFault fault = CsvFault::kNone;
  size_t fault_at = 0;
  size_t fault_fields = 0;  // of the record at fault_at, with kFieldCount
};

class CsvScanner {
 public:
  // wanted: columns, each below `columns`; the first `deciding` of them decide a record's kind.
  CsvScanner(uint8_t delimiter, size_t columns, std::vector<uint32_t> wanted, size_t deciding, size_t most_kinds);

  // The records of bytes that begin with one. Calls must not overlap.
  CsvScan scan(std::span<const uint8_t> bytes, size_t begin, bool ended);

 private:
  void take(CsvScan& scan, const uint8_t* bytes);
  uint16_t kind_of(CsvScan& scan, const uint8_t* bytes, const CsvField* fields);

  const uint8_t delimiter_;
  const size_t columns_;
  const std::vector<uint32_t> wanted_;
  const size_t deciding_, most_kinds_;
  std::unordered_map<std::string, uint16_t> kinds_;  // by the bytes of the deciding fields, each behind its length
  std::string key_;
  CsvRecord record_;
};

}  // namespace humanizer
