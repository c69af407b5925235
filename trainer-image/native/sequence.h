// The key-value cache of one request, bound to one adapter for its life.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "adapter.h"

namespace humanizer {

class Sequence {
 public:
  Sequence(const Backend& backend, std::shared_ptr<Account> account, std::shared_ptr<Adapter> adapter, int64_t layers,
           int64_t kv_size, int64_t max_tokens, int64_t prompt_tokens = 0)
      : width_(backend.activation_bytes),
        account_(std::move(account)),
        adapter_(std::move(adapter)),
        kv_size_(kv_size),
        max_tokens_(max_tokens),
        prompt_tokens_(prompt_tokens),
        keys_(static_cast<size_t>(layers)),
        values_(static_cast<size_t>(layers)) {}

  int64_t length() const { return length_; }
  int64_t max_tokens() const { return max_tokens_; }
  // The length of the whole prompt, in whatever parts it is read.
  int64_t prompt_tokens() const { return prompt_tokens_; }
  const Adapter* adapter() const { return adapter_.get(); }
  Rows keys(int64_t layer, int64_t rows) const {
    return dense(keys_[static_cast<size_t>(layer)].as(), rows, kv_size_, width_);
  }
  Rows values(int64_t layer, int64_t rows) const {
    return dense(values_[static_cast<size_t>(layer)].as(), rows, kv_size_, width_);
  }

  // Room for tokens more; the cache doubles, so that a growing answer is copied a few times only. Throws
  // Error{kOutOfMemory} and then holds what it held: layer by layer, so that old and new never exist twice as a whole.
  void reserve(int64_t tokens) {
    if (length_ + tokens <= capacity_) return;
    const int64_t capacity = std::min(max_tokens_, std::max<int64_t>({64, 2 * capacity_, length_ + tokens}));
    for (std::vector<Buffer>* side : {&keys_, &values_}) {
      for (Buffer& buffer : *side) {
        Buffer larger(*account_, static_cast<size_t>(capacity * kv_size_ * width_), false);
        const auto held = static_cast<size_t>(length_ * kv_size_ * width_);
        if (held > 0) account_->memory.copy(larger.as<void>(), buffer.as<void>(), held);
        buffer = std::move(larger);
      }
    }
    capacity_ = capacity;
  }
  // After a forward pass wrote all layers: a pass that failed leaves the cache as it was.
  void advance(int64_t tokens) { length_ += tokens; }

 private:
  int64_t width_;  // bytes of a value
  std::shared_ptr<Account> account_;
  std::shared_ptr<Adapter> adapter_;
  int64_t kv_size_, max_tokens_, prompt_tokens_, length_ = 0,
                                                 capacity_ = 0;  // every buffer has room for capacity_ tokens at least
  std::vector<Buffer> keys_, values_;
};

}  // namespace humanizer
