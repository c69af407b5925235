// A step of generation: some tokens more of several requests.
#include <algorithm>
#include <utility>

#include "error.h"
#include "head.h"
#include "llama.h"

namespace humanizer {

// The rows of all turns one after another; where the request says which way they go, those of the few first.
std::vector<int32_t> Llama::lay_turns(Pass& pass, const std::vector<Turn>& turns) const {
  std::vector<int32_t> tokens;
  const auto lay = [&](const Turn& turn, int64_t first, int64_t rows, RowsWay way) {
    const int64_t begin = static_cast<int64_t>(tokens.size()), past = turn.sequence->length() + first;
    tokens.insert(tokens.end(), turn.tokens.begin() + first, turn.tokens.begin() + first + rows);
    for (int64_t r = 0; r < rows; ++r) pass.positions.push_back(static_cast<int32_t>(past + r));
    pass.documents.push_back({begin, rows, turn.sequence.get(), past, way});
    // Neighbours on the same adapter share its products where they go the same way.
    const Adapter* adapter = turn.sequence->adapter();
    Run* last = pass.runs.empty() || pass.runs.back().adapter != adapter ? nullptr : &pass.runs.back();
    const bool few = few_rows(way, rows);
    if (last && few_rows(last->way, last->rows) == few && few_rows(way, last->rows + rows) == few) {
      last->rows += rows;
    } else {
      pass.runs.push_back({begin, rows, adapter, way});
    }
    return begin + rows - 1;
  };
  for (size_t t = 0; t < turns.size(); ++t) {
    const auto rows = static_cast<int64_t>(turns[t].tokens.size());
    const int64_t many = rows_of_many(pass, turns[t]);
    const RowsWay way = by_request(pass) ? RowsWay::kFew : RowsWay::kByCount;
    pass.head_rows.push_back(many == rows ? 0 : static_cast<int32_t>(lay(turns[t], many, rows - many, way)));
  }
  pass.few = static_cast<int64_t>(tokens.size());
  for (size_t t = 0; t < turns.size(); ++t) {
    const auto rows = static_cast<int64_t>(turns[t].tokens.size());
    const int64_t many = rows_of_many(pass, turns[t]);
    if (many == 0) continue;
    const int64_t last = lay(turns[t], 0, many, RowsWay::kMany);
    if (many == rows) pass.head_rows[t] = static_cast<int32_t>(last);
  }
  return tokens;
}

// Of a turn's rows the first so many belong to a prompt that is long enough for the way of many.
int64_t Llama::rows_of_many(const Pass& pass, const Turn& turn) const {
  const int64_t prompt = turn.sequence->prompt_tokens(), rows = static_cast<int64_t>(turn.tokens.size());
  if (!by_request(pass) || prompt < kPromptOfMany) return 0;
  return std::clamp<int64_t>(prompt - turn.sequence->length(), 0, rows);
}

// A pass of generation over the turns: their rows, and room for them.
std::vector<int32_t> Llama::begin_turns(Pass& pass, const std::vector<Turn>& turns) {
  pass.generation = true;
  for (const Turn& turn : turns) {
    const Sequence& sequence = *turn.sequence;
    const int64_t rows = static_cast<int64_t>(turn.tokens.size());
    if (sequence.length() + rows > sequence.max_tokens()) {
      throw Error(Code::kInvalidArgument, "tokens: " + std::to_string(sequence.length() + rows) +
                                              " tokens exceed the sequence's maxTokens " +
                                              std::to_string(sequence.max_tokens()));
    }
    make_room(turn.sequence, rows);
  }
  return lay_turns(pass, turns);
}

// Between two training steps keys and values lie where a step has what is larger by far.
void Llama::make_room(const std::shared_ptr<Sequence>& sequence, int64_t tokens) {
  if (!trained_) return sequence->reserve(tokens);
  const auto is_it = [&](const std::weak_ptr<Sequence>& borrower) { return borrower.lock() == sequence; };
  std::erase_if(borrowers_, [](const std::weak_ptr<Sequence>& borrower) { return borrower.expired(); });
  if (std::ranges::none_of(borrowers_, is_it)) borrowers_.push_back(sequence);
  sequence->reserve(tokens, &arena_);
}

template <typename Take>
Llama::Workspace Llama::each_logits(Pass& pass, const std::vector<int32_t>& tokens, const Take& take) {
  pass.tokens = tokens.data();
  pass.rows = static_cast<int64_t>(tokens.size());
  reserve({pass}, 0);
  const Workspace w = lay_out(pass);
  forward(pass, w);
  const auto count = static_cast<int64_t>(pass.head_rows.size());
  if (count == 0) {
    backend_.synchronize();
    return w;
  }
  gather_head(pass, w);
  const int64_t most = head_rows(backend_, a_.vocabulary);
  for (int64_t first = 0; first < count; first += most) {
    const int64_t rows = std::min(most, count - first);
    const Rows logits = dense(w.head_scratch, rows, a_.vocabulary);
    head_logits(backend_, logits, slice(activations(w.head_normed, count, a_.hidden), first, rows), head(),
                logits.row(rows));
    take(first, logits, w);
  }
  return w;
}

void Llama::generate(std::vector<Turn>& turns) {
  backend_.open_stream(threads_);
  Pass pass;
  const std::vector<int32_t> tokens = begin_turns(pass, turns);
  each_logits(pass, tokens, [&](int64_t first, const Rows& logits, const Workspace&) {
    for (int64_t r = 0; r < logits.rows; ++r) {
      std::vector<float>& of_turn = turns[static_cast<size_t>(first + r)].logits;
      of_turn.resize(static_cast<size_t>(a_.vocabulary));
      backend_.memory.download(of_turn.data(), logits.row(r), of_turn.size() * sizeof(float));
    }
  });
  for (const Turn& turn : turns) turn.sequence->advance(static_cast<int64_t>(turn.tokens.size()));
}

void Llama::sample(std::vector<Turn>& turns) {
  backend_.open_stream(threads_);
  Pass pass;
  const std::vector<int32_t> tokens = begin_turns(pass, turns);
  const std::vector<int32_t> last = std::exchange(pass.head_rows, {});
  for (size_t t = 0; t < turns.size(); ++t) {
    const Turn& turn = turns[t];
    if (!turn.choice) continue;
    pass.head_rows.push_back(last[t]);
    TokenChoice choice = *turn.choice;
    choice.first_penalty = static_cast<int32_t>(pass.penalties.size());
    pass.penalties.insert(pass.penalties.end(), turn.penalties.begin(), turn.penalties.end());
    choice.end_penalty = static_cast<int32_t>(pass.penalties.size());
    pass.choices.push_back(choice);
  }
  const Workspace w = each_logits(pass, tokens, [&](int64_t first, const Rows& logits, const Workspace& workspace) {
    backend_.sample_tokens(workspace.sampled + first, logits,
                           dense(workspace.token_weights, logits.rows, a_.vocabulary), workspace.choices + first,
                           workspace.penalties);
  });
  std::vector<SampledToken> sampled(pass.choices.size());
  if (!sampled.empty()) {
    backend_.memory.download(sampled.data(), w.sampled, sampled.size() * sizeof sampled[0]);
  }
  size_t next = 0;
  for (Turn& turn : turns) {
    if (turn.choice) turn.sampled = sampled[next++];
    turn.sequence->advance(static_cast<int64_t>(turn.tokens.size()));
  }
}

}  // namespace humanizer
