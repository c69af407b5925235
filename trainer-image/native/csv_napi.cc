// The CSV scanner as JavaScript calls it: csv-scanner.ts.
#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>

#include "csv_scan.h"
#include "napi_exports.h"

namespace humanizer {
namespace {

Napi::Error invalid(Napi::Env env, const char* message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, "INVALID_ARGUMENT"));
  return error;
}

std::span<const uint8_t> bytes_of(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    throw invalid(value.Env(), "expected bytes: Uint8Array");
  const auto array = value.As<Napi::Uint8Array>();
  if (array.ElementLength() > INT32_MAX) throw invalid(value.Env(), "expected at most 2 GiB at once");
  return {array.Data(), array.ElementLength()};
}

template <class Array, class T>
Array copied(Napi::Env env, const std::vector<T>& values) {
  using Item = std::remove_pointer_t<decltype(std::declval<Array>().Data())>;
  Array array = Array::New(env, values.size() * sizeof(T) / sizeof(Item));
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(T));
  return array;
}

Napi::Object fault_of(Napi::Env env, CsvFault fault, size_t at, size_t fields) {
  Napi::Object o = Napi::Object::New(env);
  o.Set("kind", fault == CsvFault::kFieldCount         ? "FieldCount"
                : fault == CsvFault::kQuoteNeverClosed ? "QuoteNeverClosed"
                                                       : "TextBehindQuote");
  o.Set("at", static_cast<double>(at));
  o.Set("fields", static_cast<double>(fields));
  return o;
}

// (bytes, begin, delimiter, ended) -> {next, bounds, fault}: of one record
Napi::Value fields_of(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const size_t begin = info[1].ToNumber().Uint32Value();
  CsvRecord record;
  const size_t next = csv_record(record, bytes_of(info[0]), begin,
                                 static_cast<uint8_t>(info[2].ToNumber().Uint32Value()), info[3].ToBoolean());
  Napi::Object result = Napi::Object::New(env);
  result.Set("next", static_cast<double>(next));
  result.Set("bounds", copied<Napi::Int32Array>(env, record.fields));
  if (record.fault != CsvFault::kNone) result.Set("fault", fault_of(env, record.fault, record.fault_at, 0));
  return result;
}

class ScanTask : public Napi::AsyncWorker {
 public:
  // `keep` holds the bytes.
  ScanTask(Napi::Object keep, std::shared_ptr<CsvScanner> scanner, std::span<const uint8_t> bytes, size_t begin,
           bool ended)
      : Napi::AsyncWorker(keep.Env()),
        deferred_(Napi::Promise::Deferred::New(keep.Env())),
        keep_(Napi::Persistent(keep)),
        scanner_(std::move(scanner)),
        bytes_(bytes),
        begin_(begin),
        ended_(ended) {}

  Napi::Promise promise() const { return deferred_.Promise(); }
  void Execute() override { scan_ = scanner_->scan(bytes_, begin_, ended_); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

  void OnOK() override {
    Napi::Object result = Napi::Object::New(Env());
    result.Set("taken", static_cast<double>(scan_.taken));
    result.Set("breaks", static_cast<double>(scan_.breaks));
    result.Set("count", static_cast<double>(scan_.records));
    result.Set("bounds", copied<Napi::Int32Array>(Env(), scan_.fields));
    result.Set("kinds", copied<Napi::Uint16Array>(Env(), scan_.kinds));
    result.Set("newKinds", copied<Napi::Uint32Array>(Env(), scan_.new_kinds));
    if (scan_.fault != CsvFault::kNone)
      result.Set("fault", fault_of(Env(), scan_.fault, scan_.fault_at, scan_.fault_fields));
    deferred_.Resolve(result);
  }

 private:
  Napi::Promise::Deferred deferred_;
  Napi::ObjectReference keep_;
  std::shared_ptr<CsvScanner> scanner_;
  std::span<const uint8_t> bytes_;
  size_t begin_;
  bool ended_;
  CsvScan scan_;
};

class CsvScannerObject : public Napi::ObjectWrap<CsvScannerObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "CsvScanner", {InstanceMethod<&CsvScannerObject::scan>("scan")});
  }

  // (delimiter, columns, wanted: Uint32Array, deciding, mostKinds)
  explicit CsvScannerObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CsvScannerObject>(info) {
    if (!info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array)
      throw invalid(info.Env(), "expected wanted: Uint32Array");
    const auto wanted = info[2].As<Napi::Uint32Array>();
    std::vector<uint32_t> places(wanted.Data(), wanted.Data() + wanted.ElementLength());
    const size_t columns = info[1].ToNumber().Uint32Value(), deciding = info[3].ToNumber().Uint32Value();
    const size_t most_kinds = info[4].ToNumber().Uint32Value();
    if (std::ranges::any_of(places, [&](uint32_t place) { return place >= columns; }) || deciding > places.size() ||
        most_kinds >= CsvScan::kUnlisted)
      throw invalid(info.Env(), "expected wanted columns below columns, and no more deciding ones");
    scanner_ = std::make_shared<CsvScanner>(static_cast<uint8_t>(info[0].ToNumber().Uint32Value()), columns,
                                            std::move(places), deciding, most_kinds);
  }

 private:
  // (bytes, begin, ended) -> Promise<{taken, breaks, count, bounds, kinds, newKinds, fault}>; calls must not overlap
  Napi::Value scan(const Napi::CallbackInfo& info) {
    auto* task = new ScanTask(info[0].As<Napi::Object>(), scanner_, bytes_of(info[0]), info[1].ToNumber().Uint32Value(),
                              info[2].ToBoolean());
    const Napi::Promise promise = task->promise();
    task->Queue();  // deletes itself when done
    return promise;
  }

  std::shared_ptr<CsvScanner> scanner_;
};

}  // namespace

void register_csv(Napi::Env env, Napi::Object exports) {
  exports.Set("CsvScanner", CsvScannerObject::define(env));
  exports.Set("csvFields", Napi::Function::New<fields_of>(env));
}

}  // namespace humanizer
