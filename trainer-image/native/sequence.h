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

  // Room for tokens more. Throws Error{kOutOfMemory} and then holds what it held: layer by layer, so that old and new
  // never exist twice as a whole. The cache doubles, so that a growing answer is copied a few times only; of a lender's
  // memory, which others want as well, it takes little more than it needs.
  void reserve(int64_t tokens, Arena* lender = nullptr) {
    const int64_t needed = length_ + tokens;
    if (needed <= capacity_) return;
    const int64_t room =
        lender ? needed + std::max(needed / 8, kTokensAhead) : std::max<int64_t>({64, 2 * capacity_, needed});
    const int64_t capacity = std::min(max_tokens_, room);
    for_each_side([&](Buffer& side) { move(side, lender ? lender->lend(bytes_of(capacity)) : own(capacity)); });
    capacity_ = capacity;
  }
  // Of what was lent nothing is in use afterwards. Throws as reserve.
  void give_back() {
    for_each_side([&](Buffer& side) {
      if (side.lent()) move(side, own(capacity_));
    });
  }
  // After a forward pass wrote all layers: a pass that failed leaves the cache as it was.
  void advance(int64_t tokens) { length_ += tokens; }

 private:
  static constexpr int64_t kTokensAhead = 32;

  size_t bytes_of(int64_t tokens) const { return static_cast<size_t>(tokens * kv_size_ * width_); }
  Buffer own(int64_t tokens) const { return Buffer(*account_, bytes_of(tokens), false); }
  void move(Buffer& side, Buffer to) const {
    if (length_ > 0) account_->memory.copy(to.as<void>(), side.as<void>(), bytes_of(length_));
    side = std::move(to);
  }
  template <class Do>
  void for_each_side(const Do& act) {
    for (std::vector<Buffer>* sides : {&keys_, &values_}) {
      for (Buffer& side : *sides) act(side);
    }
  }

  int64_t width_;  // bytes of a value
  std::shared_ptr<Account> account_;
  std::shared_ptr<Adapter> adapter_;
  int64_t kv_size_, max_tokens_, prompt_tokens_, length_ = 0,
                                                 capacity_ = 0;  // every buffer has room for capacity_ tokens at least
  std::vector<Buffer> keys_, values_;
};

}  // namespace humanizer
