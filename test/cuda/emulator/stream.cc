// Streams and events as a graph of work: a node waits for those before it in its stream and for the events that the
// stream waited for, and for nothing else. Work runs only when the host waits; then a drawn one of the nodes that may
// run is next.
#include "stream.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "capture.h"
#include "device.h"
#include "emulator.h"
#include "entry.h"
#include "failure.h"
#include "memory.h"
#include "random.h"

namespace emulated_cuda {

struct Node {
  Submit submit;
  Run run;
  std::vector<std::shared_ptr<Node>> after;
  bool done = false, only_orders = false;
  double seconds = 0;
};
using NodePointer = std::shared_ptr<Node>;

struct Capture {
  std::vector<NodePointer> nodes;
  std::vector<cudaStream_t> streams;  // the first began it
  std::thread::id thread;             // whose calls it refuses; none: everybody's
  bool invalid = false;
};

}  // namespace emulated_cuda

using namespace emulated_cuda;

struct CUstream_st {
  NodePointer tail;
  std::shared_ptr<Capture> capture;
};
struct CUevent_st {
  NodePointer node;
  std::shared_ptr<Capture> capture;
  bool timed;
};
struct CUgraph_st {
  std::vector<NodePointer> nodes;
};
struct CUgraphExec_st {
  std::vector<NodePointer> nodes;
};

namespace emulated_cuda {
namespace {

std::vector<NodePointer> pending;
std::vector<std::shared_ptr<Capture>> captures;
std::vector<cudaStream_t> streams;
cudaError_t instantiation_refused = cudaSuccess, graph_launch_refused = cudaSuccess;
size_t last_operations = 0;

// What an event orders is an edge of a captured graph, no node.
size_t operations_of(const std::vector<NodePointer>& nodes) {
  return static_cast<size_t>(std::ranges::count_if(nodes, [](const NodePointer& node) { return !node->only_orders; }));
}

bool ready(const NodePointer& node) {
  return std::ranges::all_of(node->after, [](const NodePointer& before) { return before->done; });
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Of so many that may run, by when they were asked for: the first, as a device that is never behind; the last, so that
// what nobody waits for comes as late as it can; else whichever the draw gives.
size_t chosen(size_t candidates) {
  if (order.turns == Turns::Forward) return 0;
  if (order.turns == Turns::Backward) return candidates - 1;
  return order.random.below(static_cast<uint32_t>(candidates));
}

void run_one() {
  std::vector<size_t> candidates;
  for (size_t i = 0; i < pending.size(); ++i)
    if (ready(pending[i])) candidates.push_back(i);
  if (candidates.empty()) fail("streams wait for one another");
  const size_t at = candidates[chosen(candidates.size())];
  const NodePointer node = pending[at];
  pending.erase(pending.begin() + static_cast<ptrdiff_t>(at));
  node->run();
  node->run = nullptr;
  node->after.clear();
  node->done = true;
  node->seconds = now();
}

void run_until(const NodePointer& node) {
  if (!node || node->done) return;
  const DeviceAccess access;
  while (!node->done) run_one();
}

void run_all() {
  if (pending.empty()) return;
  const DeviceAccess access;
  while (!pending.empty()) run_one();
}

NodePointer append(cudaStream_t stream, std::vector<NodePointer> after, Submit submit) {
  auto node = std::make_shared<Node>();
  node->after = std::move(after);
  if (stream->tail) node->after.push_back(stream->tail);
  stream->tail = node;
  if (stream->capture) {
    node->submit = std::move(submit);
    stream->capture->nodes.push_back(node);
  } else {
    node->run = submit();
    pending.push_back(node);
  }
  return node;
}

const Submit kNothing = [] { return [] {}; };

bool known(cudaStream_t stream) { return std::ranges::find(streams, stream) != streams.end(); }

cudaError_t usable(cudaStream_t stream) {
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (!stream) fail("work on the legacy default stream, which waits for every other: name a stream");
  if (!known(stream)) return answer(cudaErrorInvalidResourceHandle);
  if (stream->capture && stream->capture->invalid) return answer(cudaErrorStreamCaptureInvalidated);
  return cudaSuccess;
}

}  // namespace

void refuse_graphs(cudaError_t instantiation, cudaError_t launch) {
  instantiation_refused = instantiation;
  graph_launch_refused = launch;
}

size_t graph_operations() { return last_operations; }

namespace {
bool concerns_us(const std::shared_ptr<Capture>& capture) {
  return capture->thread == std::thread::id() || capture->thread == std::this_thread::get_id();
}
}  // namespace

bool capturing() { return std::ranges::any_of(captures, concerns_us); }

cudaError_t refuse_in_capture() {
  for (const auto& capture : captures) capture->invalid = capture->invalid || concerns_us(capture);
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t append(cudaStream_t stream, Submit submit) {
  if (const cudaError_t error = usable(stream); error != cudaSuccess) return error;
  append(stream, {}, std::move(submit));
  return cudaSuccess;
}

cudaError_t enqueue(Launch launch, cudaStream_t stream) {
  expect_launchable(launch);
  auto shared = std::make_shared<Launch>(std::move(launch));
  return append(stream, [shared] { return [shared] { run_kernel(*shared); }; });
}

}  // namespace emulated_cuda

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (flags != cudaStreamNonBlocking)
    fail("a stream that waits for the legacy default stream: create it cudaStreamNonBlocking");
  *stream = new CUstream_st{};
  streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Entry entry;
  if (!known(stream)) return answer(cudaErrorInvalidResourceHandle);
  std::erase(streams, stream);
  delete stream;  // its work stays pending, as the real one's does
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Entry entry;
  if (const cudaError_t error = usable(stream); error != cudaSuccess) return error;
  if (capturing()) return answer(refuse_in_capture());
  run_until(stream->tail);
  return answer(device_state());
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Entry entry;
  if (const cudaError_t error = usable(stream); error != cudaSuccess) return error;
  if (stream->capture) return answer(refuse_in_capture());
  if (!stream->tail || stream->tail->done) return cudaSuccess;
  const DeviceAccess access;
  run_one();  // so that who asks again and again comes to an end
  return stream->tail->done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize() {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (capturing()) return answer(refuse_in_capture());
  run_all();
  return answer(device_state());
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*function)(void*), void* argument) {
  const Entry entry;
  return append(stream, [=] { return [=] { function(argument); }; });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  *event = new CUevent_st{nullptr, nullptr, !(flags & cudaEventDisableTiming)};
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Entry entry;
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Entry entry;
  if (const cudaError_t error = usable(stream); error != cudaSuccess) return error;
  event->node = append(stream, {}, kNothing);
  event->node->only_orders = true;
  event->capture = stream->capture;
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Entry entry;
  if (const cudaError_t error = usable(stream); error != cudaSuccess) return error;
  if (!event->node) return cudaSuccess;  // never recorded: nothing to wait for
  if (event->capture) {
    if (stream->capture && stream->capture != event->capture) return answer(cudaErrorStreamCaptureUnmatched);
    if (!stream->capture) {
      stream->capture = event->capture;
      stream->capture->streams.push_back(stream);
      stream->tail = nullptr;
    }
  } else if (stream->capture) {
    return answer(refuse_in_capture());  // work outside of the capture
  }
  append(stream, {event->node}, kNothing)->only_orders = true;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (capturing()) return answer(refuse_in_capture());
  run_until(event->node);
  return answer(device_state());
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (event->capture && !event->capture->nodes.empty() && capturing()) return answer(refuse_in_capture());
  if (!event->node || event->node->done) return cudaSuccess;
  const DeviceAccess access;
  run_one();
  return event->node->done ? cudaSuccess : cudaErrorNotReady;
}

// The emulator's own time: of use to nobody, but that it does not go backwards.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  const Entry entry;
  if (!from->timed || !to->timed) return answer(cudaErrorInvalidResourceHandle);
  if (!from->node || !to->node || !from->node->done || !to->node->done) return answer(cudaErrorNotReady);
  *milliseconds = static_cast<float>(std::max(0.0, to->node->seconds - from->node->seconds) * 1e3);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Entry entry;
  if (const cudaError_t error = usable(stream); error != cudaSuccess) return error;
  if (stream->capture) return answer(cudaErrorStreamCaptureUnsupported);
  stream->capture = std::make_shared<Capture>();
  stream->capture->streams.push_back(stream);
  if (mode == cudaStreamCaptureModeThreadLocal) stream->capture->thread = std::this_thread::get_id();
  captures.push_back(stream->capture);
  if (stream->tail) run_until(stream->tail);
  stream->tail = nullptr;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Entry entry;
  *graph = nullptr;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (!capture || capture->streams.front() != stream) return answer(cudaErrorStreamCaptureUnmatched);
  // Everything must come before the end of the stream that began.
  std::vector<NodePointer> reached;
  if (stream->tail) reached.push_back(stream->tail);
  for (size_t i = 0; i < reached.size(); ++i)
    for (const NodePointer& before : reached[i]->after)
      if (std::ranges::find(reached, before) == reached.end()) reached.push_back(before);
  const bool joined = std::ranges::all_of(
      capture->nodes, [&](const NodePointer& node) { return std::ranges::find(reached, node) != reached.end(); });
  for (const cudaStream_t member : capture->streams) {
    member->capture = nullptr;
    member->tail = nullptr;
  }
  std::erase(captures, capture);
  if (capture->invalid) return answer(cudaErrorStreamCaptureInvalidated);
  if (!joined) return answer(cudaErrorStreamCaptureUnjoined);
  *graph = new CUgraph_st{capture->nodes};
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Entry entry;
  *status = !stream->capture           ? cudaStreamCaptureStatusNone
            : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                       : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  const Entry entry;
  if (capturing()) return answer(refuse_in_capture());
  if (instantiation_refused != cudaSuccess) return answer(instantiation_refused);
  *exec = new CUgraphExec_st{graph->nodes};
  last_operations = operations_of(graph->nodes);
  return cudaSuccess;
}

// Its nodes join the pending work as they are: in any order that their edges allow, between other streams' work.
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Entry entry;
  if (const cudaError_t error = usable(stream); error != cudaSuccess) return error;
  if (stream->capture) return answer(refuse_in_capture());
  if (graph_launch_refused != cudaSuccess) return answer(graph_launch_refused);
  std::unordered_map<const Node*, NodePointer> copies;
  std::vector<NodePointer> all;
  for (const NodePointer& node : exec->nodes) {  // in the order of their capture: who comes before is copied before
    auto copy = std::make_shared<Node>();
    for (const NodePointer& before : node->after) copy->after.push_back(copies.at(before.get()));
    if (stream->tail) copy->after.push_back(stream->tail);
    copy->run = node->submit();
    copies.emplace(node.get(), copy);
    all.push_back(copy);
    pending.push_back(std::move(copy));
  }
  append(stream, std::move(all), kNothing);
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  const Entry entry;
  if (nodes) return answer(cudaErrorNotSupported);
  *count = operations_of(graph->nodes);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const Entry entry;
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Entry entry;
  delete exec;
  return cudaSuccess;
}
