// LoRA with its replayed dropout, the norm of the gradient and both AdamWs.
#include <cstring>

#include "op_case.h"

namespace humanizer::cuda {

namespace {

const Backend& cpu() { return cpu_backend(); }

struct Shape {
  int64_t rows, in, out, rank;
  float rate;
};

template <class T>
struct LoraCase {
  Shape s;
  std::vector<T> x, y, dy, dx;
  std::vector<float> a, b, da, db;
  std::vector<uint32_t> steps{9}, ordinals, positions;

  explicit LoraCase(const Shape& shape)
      : s(shape),
        x(random_values<T>(s.rows * s.in)),
        y(random_values<T>(s.rows * s.out)),
        dy(random_values<T>(s.rows * s.out)),
        dx(random_values<T>(s.rows * s.in)),
        // Weights that T holds too: what rounding the masters does is bf16's own affair.
        a(floats(random_values<T>(s.rank * s.in))),
        b(floats(random_values<T>(s.out * s.rank))),
        da(random_values<float>(s.rank * s.in)),
        db(random_values<float>(s.out * s.rank)) {
    for (int64_t r = 0; r < s.rows; ++r) {
      ordinals.push_back(static_cast<uint32_t>(3 + r / 5));
      positions.push_back(static_cast<uint32_t>(r % 5 + 1000));
    }
  }
  Dropout dropout(const uint32_t* step, const uint32_t* ordinal, const uint32_t* position) const {
    return {s.rate, philox_key(11, 2, 5), step, ordinal, position};
  }
  std::string name(const char* op) const {
    return named(op, name_of<T>(), {s.rows, s.in, s.out, s.rank, static_cast<int64_t>(s.rate * 100)});
  }
};

std::vector<float> lora_scratch_of(const Shape& s) {
  return std::vector<float>(static_cast<size_t>(lora_scratch(1, s.in, s.out, s.rank)));
}

// h and y: in bf16 h is rounded once and y, made of it, again.
template <class T>
void lora(const Shape& shape) {
  const LoraCase<T> c(shape);
  const Shape& s = c.s;
  cpu().open_stream(1);
  std::vector<float> scratch = lora_scratch_of(s), h(static_cast<size_t>(s.rows * s.rank)), y = floats(c.y);
  const std::vector<float> x = floats(c.x), dy = floats(c.dy);
  std::vector<float> dx = floats(c.dx), da = c.da, db = c.db;
  const LoraWeights w{c.a.data(), c.b.data(), s.rank, 0.5f};
  const Dropout dropout = c.dropout(c.steps.data(), c.ordinals.data(), c.positions.data());
  cpu().lora_forward(dense(y.data(), s.rows, s.out), dense(h.data(), s.rows, s.rank), dense(x.data(), s.rows, s.in), w,
                     dropout, scratch.data());
  // A and a dropped x are rounded before the product, h after it.
  check(c.name("lora h"), h, bound_of<T>(2), [&](cudaStream_t stream) {
    const Device<T> from(c.x), to(c.y), low(h.size());
    const Device<float> a(c.a), b(c.b);
    const Device<uint32_t> step(c.steps), ordinal(c.ordinals), position(c.positions);
    lora_forward<T>(stream, view(to, s.rows, s.out), view(low, s.rows, s.rank), view(from, s.rows, s.in),
                    {a.data(), b.data(), s.rank, 0.5f}, c.dropout(step.data(), ordinal.data(), position.data()));
    expect(cudaStreamSynchronize(stream));
    return low.values();
  });
  std::vector<float> written(y.size());
  LoraWeights writing = w;
  writing.beta = 0;
  cpu().lora_forward(dense(written.data(), s.rows, s.out), dense(h.data(), s.rows, s.rank),
                     dense(x.data(), s.rows, s.in), writing, dropout, scratch.data());
  check(c.name("lora forward, y written"), written, bound_of<T>(2), [&](cudaStream_t stream) {
    const Device<T> from(c.x), to(y.size()), low(h.size());
    const Device<float> a(c.a), b(c.b);
    const Device<uint32_t> step(c.steps), ordinal(c.ordinals), position(c.positions);
    lora_forward<T>(stream, view(to, s.rows, s.out), view(low, s.rows, s.rank), view(from, s.rows, s.in),
                    {a.data(), b.data(), s.rank, 0.5f, RowsWay::kByCount, 0},
                    c.dropout(step.data(), ordinal.data(), position.data()));
    expect(cudaStreamSynchronize(stream));
    return to.values();
  });
  check(c.name("lora forward"), y, bound_of<T>(2), [&](cudaStream_t stream) {
    const Device<T> from(c.x), to(c.y), low(h.size());
    const Device<float> a(c.a), b(c.b);
    const Device<uint32_t> step(c.steps), ordinal(c.ordinals), position(c.positions);
    lora_forward<T>(stream, view(to, s.rows, s.out), view(low, s.rows, s.rank), view(from, s.rows, s.in),
                    {a.data(), b.data(), s.rank, 0.5f}, c.dropout(step.data(), ordinal.data(), position.data()));
    expect(cudaStreamSynchronize(stream));
    return to.values();
  });
  // Backward from the same h on both sides.
  std::vector<T> low;
  for (float& value : h) low.push_back(static_cast<T>(value)), value = static_cast<float>(low.back());
  cpu().lora_backward(dense(dx.data(), s.rows, s.in), da.data(), db.data(), dense(dy.data(), s.rows, s.out),
                      dense(x.data(), s.rows, s.in), dense(h.data(), s.rows, s.rank), w, dropout, scratch.data());
  std::vector<float> dx_written(dx.size()), no_da = c.da, no_db = c.db;
  cpu().lora_backward(dense(dx_written.data(), s.rows, s.in), no_da.data(), no_db.data(),
                      dense(dy.data(), s.rows, s.out), dense(x.data(), s.rows, s.in), dense(h.data(), s.rows, s.rank),
                      writing, dropout, scratch.data());
  const auto backward = [&](const char* name, const std::vector<float>& expected, int part, bool keep) {
    check(c.name(name), expected, bound_of<T>(2), [&](cudaStream_t stream) {
      const Device<T> from(c.x), out(c.dy), to(c.dx), kept(low);
      const Device<float> a(c.a), b(c.b), to_a(c.da), to_b(c.db);
      const Device<uint32_t> step(c.steps), ordinal(c.ordinals), position(c.positions);
      const Device<uint8_t> room(static_cast<size_t>(lora_backward_scratch(s.rows, s.in, s.out, s.rank)));
      const Device<uint32_t> words(static_cast<size_t>(s.rows * mask_words(s.in)));
      Dropout of = c.dropout(step.data(), ordinal.data(), position.data());
      if (keep) {
        const Device<T> y(c.y), h(low.size());
        of.kept = words.data();
        lora_forward<T>(stream, view(y, s.rows, s.out), view(h, s.rows, s.rank), view(from, s.rows, s.in),
                        {a.data(), b.data(), s.rank, 0.5f}, of);
        expect(cudaStreamSynchronize(stream));
        of.key = {};  // it is not drawn again
      }
      lora_backward<T>(stream, view(to, s.rows, s.in), to_a.data(), to_b.data(), view(out, s.rows, s.out),
                       view(from, s.rows, s.in), view(kept, s.rows, s.rank),
                       {a.data(), b.data(), s.rank, 0.5f, RowsWay::kByCount, keep ? 0.0f : 1.0f}, of, room.data());
      expect(cudaStreamSynchronize(stream));
      return part == 0 ? floats(to.values()) : part == 1 ? to_a.values() : to_b.values();
    });
  };
  backward("lora dx", dx, 0, false);
  backward("lora dA", da, 1, false);
  backward("lora dB", db, 2, false);
  if (s.rate == 0) return;
  backward("lora dx written, by a kept mask", dx_written, 0, true);
  backward("lora dA by a kept mask", da, 1, true);
}

// x of ones and A of one row that picks a column: h is the mask's column, bit for bit, over the whole of x.
void mask_bits() {
  constexpr int64_t kRows = 3, kIn = 100;
  const std::vector<float> ones(static_cast<size_t>(kRows * kIn), 1.0f);
  std::vector<float> identity(static_cast<size_t>(kIn * kIn)), expected;
  for (int64_t i = 0; i < kIn; ++i) identity[static_cast<size_t>(i * kIn + i)] = 1;
  const std::vector<uint32_t> ordinals = {0, 1, 77}, positions = {0, 5, 4000000000u};
  const PhiloxKey key = philox_key(123456789, 27, 6);
  for (size_t r = 0; r < kRows; ++r) {
    for (uint32_t c = 0; c < kIn; ++c) {
      uint32_t words[32];
      philox_group(words, key, 500, ordinals[r], positions[r], c / 8);
      const uint32_t word = words[8 * (c % 8 / 2)], drawn = c % 2 == 0 ? word % 65536 : word / 65536;
      expected.push_back(drawn >= 3277 ? 65536.0f / (65536 - 3277) : 0.0f);  // 0.05 in 65,536ths
    }
  }
  check("dropout's mask has the bits of philox.h", expected, 0, [&](cudaStream_t stream) {
    const Device<float> x(ones), a(identity), b(zeros(kIn)), y(zeros(kRows)), h(kRows * kIn);
    const Device<uint32_t> step(std::vector<uint32_t>{500}), ordinal(ordinals), position(positions);
    lora_forward<float>(stream, view(y, kRows, 1), view(h, kRows, kIn), view(x, kRows, kIn),
                        {a.data(), b.data(), kIn, 1}, {0.05f, key, step.data(), ordinal.data(), position.data()});
    expect(cudaStreamSynchronize(stream));
    return h.values();
  });
}

std::vector<float> with(std::vector<float> values, float first) {
  if (first != 0) values[0] = first;
  return values;
}

// The norm is f64 in another order; the update, given the same norm, has the .cc's bits.
void adamw(int64_t count, float first_gradient, double max_norm) {
  const std::vector<float> p = random_values<float>(count), g = with(random_values<float>(count), first_gradient),
                           m = random_values<float>(count), v = [&] {
                             std::vector<float> squares = random_values<float>(count);
                             for (float& value : squares) value *= value;
                             return squares;
                           }();
  const AdamwOptions options{1.5e-4, 0.25, max_norm, 0.9, 0.999, 1e-8, 0.01, 3};
  GradientNorm norm{};
  cpu().gradient_norm(&norm, g.data(), count, 0.25);
  std::vector<float> new_p = p, new_g = g, new_m = m, new_v = v;
  cpu().adamw_update(new_p.data(), new_g.data(), new_m.data(), new_v.data(), count, &norm, options);
  check(named("gradient norm", "f64", {count, norm.skip}),
        {static_cast<float>(norm.norm), static_cast<float>(norm.skip)}, 1e-7, [&](cudaStream_t stream) {
          const Device<float> from(g);
          const Device<GradientNorm> to(1);
          const Device<double> scratch(kNormParts);
          gradient_norm(stream, to.data(), from.data(), count, 0.25, scratch.data());
          expect(cudaStreamSynchronize(stream));
          const GradientNorm got = to.values()[0];
          return std::vector<double>{got.norm, static_cast<double>(got.skip)};
        });
  std::vector<float> expected = new_p;
  for (const std::vector<float>* more : {&new_g, &new_m, &new_v})
    expected.insert(expected.end(), more->begin(), more->end());
  check(named("adamw has the bits", "f32", {count, norm.skip}), expected, 0, [&](cudaStream_t stream) {
    const Device<float> to_p(p), to_g(g), to_m(m), to_v(v);
    const Device<GradientNorm> at(std::vector<GradientNorm>{norm});
    adamw_update(stream, to_p.data(), to_g.data(), to_m.data(), to_v.data(), count, at.data(), options);
    expect(cudaStreamSynchronize(stream));
    std::vector<float> got = to_p.values();
    for (const Device<float>* more : {&to_g, &to_m, &to_v}) {
      const std::vector<float> next = more->values();
      got.insert(got.end(), next.begin(), next.end());
    }
    return got;
  });
}

// Three steps from zeros, so that codes, signs and maxima all come about.
void adamw8bit(int64_t count, bool still, bool skip) {
  const size_t blocks = static_cast<size_t>((count + kMomentBlock - 1) / kMomentBlock);
  const std::vector<float> p = random_values<float>(count);
  std::vector<std::vector<float>> gradients;
  for (int i = 0; i < 3; ++i) gradients.push_back(still ? std::vector<float>(p.size()) : random_values<float>(count));
  const GradientNorm norm{2.5, skip};
  const AdamwOptions options{1e-2, 0.5, 1, 0.9, 0.999, 1e-8, 0.01, 1};
  std::vector<float> new_p = p, first_max(blocks), second_max(blocks);
  std::vector<uint8_t> first(p.size(), 127), second(p.size());
  for (std::vector<float> g : gradients) {
    cpu().adamw8bit_update(new_p.data(), g.data(), {first.data(), second.data(), first_max.data(), second_max.data()},
                           count, &norm, options);
  }
  std::vector<float> expected = new_p;
  for (const std::vector<float>& more : {floats(first), floats(second), first_max, second_max}) {
    expected.insert(expected.end(), more.begin(), more.end());
  }
  check(named("adamw8bit has the bits", "f32", {count, still, skip}), expected, 0, [&](cudaStream_t stream) {
    const Device<float> to_p(p), to_first_max(zeros(static_cast<int64_t>(blocks))),
        to_second_max(zeros(static_cast<int64_t>(blocks))),
        first_map(std::vector<float>(kDynamicCode, kDynamicCode + 256)),
        second_map(std::vector<float>(kUnsignedDynamicCode, kUnsignedDynamicCode + 256));
    const Device<uint8_t> to_first(std::vector<uint8_t>(p.size(), 127)), to_second(zeros<uint8_t>(count));
    const Device<GradientNorm> at(std::vector<GradientNorm>{norm});
    for (const std::vector<float>& g : gradients) {
      const Device<float> gradient(g);
      adamw8bit_update(stream, to_p.data(), gradient.data(),
                       {to_first.data(), to_second.data(), to_first_max.data(), to_second_max.data()}, count, at.data(),
                       options, first_map.data(), second_map.data());
      expect(cudaStreamSynchronize(stream));
    }
    std::vector<float> got = to_p.values();
    for (const std::vector<float>& more :
         {floats(to_first.values()), floats(to_second.values()), to_first_max.values(), to_second_max.values()}) {
      got.insert(got.end(), more.begin(), more.end());
    }
    return got;
  });
}

template <class T>
void both_types() {
  lora<T>({1, 8, 8, 8, 0.0f});
  lora<T>({70, 136, 104, 32, 0.05f});
  lora<T>({3, 33, 37, 5, 0.3f});
  lora<T>({600, 40, 24, 16, 0.05f});  // rows in two parts
  lora<T>({9, 65, 64, 48, 0.0f});
}

}  // namespace

void training_cases() {
  generator.seed(5);
  both_types<float>();
  both_types<bf16>();
  mask_bits();
  for (const auto& [count, first, most] :
       {std::tuple{1, 0.0f, 1.0}, {1000, 0.0f, 1.0}, {70001, 0.0f, 0.0}, {300, NAN, 1.0}, {300, INFINITY, 0.0}})
    adamw(count, first, most);
  adamw8bit(1, false, false);
  adamw8bit(700, false, false);
  adamw8bit(300, true, false);
  adamw8bit(300, false, true);
}

}  // namespace humanizer::cuda
