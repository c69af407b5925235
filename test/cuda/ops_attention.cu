// Attention over packed documents, forward and backward, and over the cache of a decoding step.
#include <memory>

#include "op_case.h"

namespace humanizer::cuda {

namespace {

const Backend& cpu() { return cpu_backend(); }

// q, k and v lie side by side in one matrix, as the fused projection leaves them.
template <class T>
struct Documents {
  std::vector<int64_t> lengths;
  AttentionShape shape;
  int64_t rows = 0, q_size, kv_size, width;
  std::vector<T> qkv, dout;
  std::vector<int32_t> first, last;

  Documents(std::vector<int64_t> of, AttentionShape s)
      : lengths(std::move(of)), shape(s), q_size(s.heads * s.head_size), kv_size(s.kv_heads * s.head_size) {
    width = q_size + 2 * kv_size;
    for (const int64_t length : lengths) {
      first.insert(first.end(), static_cast<size_t>(length), static_cast<int32_t>(rows));
      rows += length;
      last.insert(last.end(), static_cast<size_t>(length), static_cast<int32_t>(rows));
    }
    qkv = random_values<T>(rows * width, 2);
    dout = random_values<T>(rows * q_size);
  }
  AttentionInput<T> input(const Device<T>& device) const {
    const View<const T> all{device.data(), rows, width, width};
    return {columns_of(all, 0, q_size), columns_of(all, q_size, kv_size), columns_of(all, q_size + kv_size, kv_size)};
  }
  std::string name(const char* op) const {
    std::string name = named(op, name_of<T>(), {shape.heads, shape.kv_heads, shape.head_size});
    for (const int64_t length : lengths) name += (&length == &lengths[0] ? " over " : "+") + std::to_string(length);
    return name;
  }
};

template <class T>
void attention(const std::vector<int64_t>& lengths, const AttentionShape& shape) {
  const Documents<T> d(lengths, shape);
  cpu().open_stream(1);
  std::vector<float> all = floats(d.qkv), dout = floats(d.dout);
  std::vector<float> out(static_cast<size_t>(d.rows * d.q_size)), lse(static_cast<size_t>(d.rows * shape.heads)),
      gradients(all.size());
  std::vector<AttentionSpan> spans;
  std::vector<AttentionGradients> to;
  for (int64_t begin = 0; const int64_t length : lengths) {
    const auto part = [&](auto rows, int64_t column, int64_t cols) {
      return slice(columns(rows, column, cols), begin, length);
    };
    const ConstRows from = dense(static_cast<const float*>(all.data()), d.rows, d.width);
    const Rows gradient = dense(gradients.data(), d.rows, d.width);
    spans.push_back({slice(dense(out.data(), d.rows, d.q_size), begin, length), lse.data() + begin * shape.heads,
                     part(from, 0, d.q_size), part(from, d.q_size, d.kv_size),
                     part(from, d.q_size + d.kv_size, d.kv_size)});
    to.push_back({part(gradient, 0, d.q_size), part(gradient, d.q_size, d.kv_size),
                  part(gradient, d.q_size + d.kv_size, d.kv_size),
                  slice(dense(static_cast<const float*>(dout.data()), d.rows, d.q_size), begin, length)});
    begin += length;
  }
  const auto count = static_cast<int64_t>(spans.size());
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  std::vector<float> scratch(static_cast<size_t>(attention_scratch(1, count, d.rows, longest, shape, true)));
  cpu().attention_forward(spans.data(), count, shape, scratch.data());

  const auto forward = [&](cudaStream_t stream, bool of_lse) {
    const Device<T> from(d.qkv), result(out.size());
    const Device<float> kept(lse.size());
    const Device<int32_t> first(d.first), last(d.last);
    attention_forward<T>(stream, view(result, d.rows, d.q_size), kept.data(), d.input(from),
                         {first.data(), last.data()}, shape);
    expect(cudaStreamSynchronize(stream));
    return of_lse ? kept.values() : floats(result.values());
  };
  // bf16: the probabilities are rounded before they weigh the values, the sum after.
  check(d.name("attention"), out, bound_of<T>(2), [&](cudaStream_t stream) { return forward(stream, false); });
  // Scores are sums of terms of about 1, which may cancel.
  const double cancelled = std::max(
      1.0, 1 / static_cast<double>(std::fabs(std::ranges::max(lse, {}, [](float x) { return std::fabs(x); }))));
  check(d.name("attention's lse"), lse, kReordered * 2 * cancelled,
        [&](cudaStream_t stream) { return forward(stream, true); });

  // Backward on both sides from the same output, which T holds.
  std::vector<T> out_of_type;
  for (float& value : out) out_of_type.push_back(static_cast<T>(value)), value = static_cast<float>(out_of_type.back());
  cpu().attention_backward(spans.data(), to.data(), count, shape, scratch.data());
  // bf16: probabilities and their gradients are rounded, then the sum.
  check(d.name("attention backward"), gradients, bound_of<T>(3), [&](cudaStream_t stream) {
    const Device<T> from(d.qkv), result(out_of_type), gradient(d.dout), to_all(d.qkv.size());
    const Device<float> kept(lse), room(lse.size());
    const Device<int32_t> first(d.first), last(d.last);
    const View<T> into{to_all.data(), d.rows, d.width, d.width};
    attention_backward<T>(stream, d.input(from), columns_of(into, 0, d.q_size), columns_of(into, d.q_size, d.kv_size),
                          columns_of(into, d.q_size + d.kv_size, d.kv_size), view(gradient, d.rows, d.q_size),
                          view(result, d.rows, d.q_size), kept.data(), {first.data(), last.data()}, shape, room.data());
    expect(cudaStreamSynchronize(stream));
    return to_all.values();
  });
}

// A batch of decoding steps, each against forward_few of the .cc.
template <class T>
void cached(const std::vector<int64_t>& keys, const AttentionShape& shape) {
  const auto rows = static_cast<int64_t>(keys.size());
  const int64_t q_size = shape.heads * shape.head_size, kv_size = shape.kv_heads * shape.head_size;
  const std::vector<T> q = random_values<T>(rows * q_size, 2);
  std::vector<std::vector<T>> caches;
  for (const int64_t count : keys) {
    caches.push_back(random_values<T>(count * kv_size));
    caches.push_back(random_values<T>(count * kv_size));
  }
  std::vector<std::vector<float>> on_host;
  for (const std::vector<T>& cache : caches) on_host.push_back(floats(cache));
  const std::vector<float> q_host = floats(q);
  std::vector<float> out(q.size()), lse(static_cast<size_t>(rows * shape.heads));
  std::vector<AttentionSpan> spans;
  for (int64_t r = 0; r < rows; ++r) {
    const size_t cache = static_cast<size_t>(2 * r);
    const auto of = [&](size_t i) {
      return dense(static_cast<const float*>(on_host[i].data()), keys[cache / 2], kv_size);
    };
    spans.push_back({dense(out.data() + r * q_size, 1, q_size), lse.data() + r * shape.heads,
                     dense(q_host.data() + r * q_size, 1, q_size), of(cache), of(cache + 1)});
  }
  const int64_t longest = *std::max_element(keys.begin(), keys.end());
  std::vector<float> scratch(static_cast<size_t>(attention_scratch(1, rows, rows * longest, longest, shape, false)));
  cpu().open_stream(1);
  cpu().attention_forward(spans.data(), rows, shape, scratch.data());
  check(named("attention over a cache", name_of<T>(), {rows, longest, shape.heads, shape.kv_heads, shape.head_size}),
        out, bound_of<T>(), [&](cudaStream_t stream) {
          std::vector<std::unique_ptr<Device<T>>> memory;
          std::vector<CachedRow<T>> cached_rows;
          for (const std::vector<T>& cache : caches) memory.push_back(std::make_unique<Device<T>>(cache));
          for (size_t r = 0; r < keys.size(); ++r) {
            cached_rows.push_back({memory[2 * r]->data(), memory[2 * r + 1]->data(), keys[r]});
          }
          const Device<CachedRow<T>> at(cached_rows);
          const Device<T> from(q), to(q.size());
          const int64_t splits = ceil_div(longest, kKeysOfSplit);
          const Device<float> room(static_cast<size_t>(rows * shape.heads * splits * (shape.head_size + 2)));
          attention_cached<T>(stream, view(to, rows, q_size), view(from, rows, q_size), at.data(), longest, shape,
                              room.data());
          expect(cudaStreamSynchronize(stream));
          return to.values();
        });
}

template <class T>
void both_types() {
  cached<T>({1}, {1, 1, 8});
  cached<T>({300, 5, 513}, {4, 2, 64});
  cached<T>({256}, {3, 1, 160});
  attention<T>({1}, {1, 1, 8});
  attention<T>({70, 3, 130}, {2, 1, 64});
  attention<T>({33, 1, 2}, {6, 2, 24});
  attention<T>({65}, {3, 3, 96});
  attention<T>({129}, {1, 1, 128});
}

void refused() {
  const auto says = [](const char* name, const char* words, auto call) {
    try {
      call();
      report(name, "nothing was refused");
    } catch (const Error& error) {
      report(name, std::string(error.what()).find(words) == std::string::npos ? error.what() : "");
    }
  };
  const Device<bf16> memory(4096);
  const Device<float> lse(16);
  const Device<int32_t> rows(std::vector<int32_t>{0, 1});
  const auto attend = [&](int64_t offset, int64_t head_size) {
    const Stream stream;
    const View<bf16> out{memory.data() + offset, 1, head_size, head_size};
    const View<const bf16> in = out;
    attention_forward<bf16>(stream, out, lse.data(), {in, in, in}, {rows.data(), rows.data() + 1}, {1, 1, head_size});
  };
  says("a head of 136 has no attention in bf16", "head size 136", [&] { attend(0, 136); });
  says("a head of 20 has no attention in bf16", "head size 20", [&] { attend(0, 20); });
  says("rows that are not aligned have no attention in bf16", "aligned to 16 bytes", [&] { attend(1, 64); });
}

}  // namespace

void attention_cases() {
  generator.seed(5);
  both_types<float>();
  attention<float>({40}, {1, 1, 160});
  both_types<bf16>();
  refused();
}

}  // namespace humanizer::cuda
