// longspan_transport_bench: how fast messages pass between two processes, beside ucx_perftest between the
// same two.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bench/options.h"
#include "comm/ucx_transport.h"

namespace longspan::bench {
namespace {

constexpr char kProgram[] = "longspan_transport_bench";
constexpr std::chrono::seconds kPatience{30};

struct Options {
  bool receive = false;
  size_t bytes = kMaxPayloadBytes;
  size_t parts = 16;
  size_t header_bytes = 100;
  size_t messages = 2000;
  int rounds = 3;
  std::string remote;
  std::string remote_host = "127.0.0.1";
  int port = 13337;
  UcxTransportOptions transport;
};

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "%s: %s\n", kProgram, message.c_str());
  std::exit(1);
}

template <typename T>
T OrFail(absl::StatusOr<T> value) {
  if (!value.ok()) Fail(std::string(value.status().message()));
  return *std::move(value);
}

void OrFail(const absl::Status& status) {
  if (!status.ok()) Fail(std::string(status.message()));
}

ByteSpan AsBytes(const std::string& text) { return std::as_bytes(std::span(text)); }

void StepUntil(Transport& transport, Transport::Handler handler, const std::function<bool()>& finished) {
  while (!finished()) {
    if (!transport.Progress(handler) && !transport.Wait(kPatience))
      Fail("the other process has fallen silent");
  }
}

// The other process: says its address. A message with a header of one byte carries the sender's, and is
// answered; one without a header is the last.
int Receive(const Options& options) {
  const auto transport = OrFail(CreateUcxTransport(options.transport));
  std::printf("%s\n", absl::BytesToHexString(transport->address()).c_str());
  std::fflush(stdout);
  std::unique_ptr<TransportConnection> connection;
  bool is_over = false;
  auto heard = std::chrono::steady_clock::now();
  while (!is_over) {
    const bool progressed = transport->Progress([&](ReceivedMessage message) {
      heard = std::chrono::steady_clock::now();
      if (message.header.empty()) is_over = true;
      if (message.header.size() != 1) return;
      if (connection == nullptr) {
        connection = OrFail(transport->Connect(
            std::string(reinterpret_cast<const char*>(message.payload.data()), message.payload.size())));
      }
      OrFail(connection->Send({}, {}, {}));
    });
    if (!progressed) transport->Wait(kPatience);
    if (std::chrono::steady_clock::now() - heard > kPatience) Fail("the sender has fallen silent");
  }
  return 0;
}

class Process {
 public:
  explicit Process(const std::string& command) : output_(popen(command.c_str(), "r")) {
    if (output_ == nullptr) Fail(absl::StrCat(command, ": ", std::strerror(errno)));
  }
  ~Process() { pclose(output_); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  std::optional<std::string> ReadLine() {
    char line[4096];
    if (std::fgets(line, sizeof(line), output_) == nullptr) return std::nullopt;
    line[std::strcspn(line, "\n")] = '\0';
    return line;
  }

 private:
  FILE* const output_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A transport here and one in another process.
class Sender {
 public:
  Sender(const Options& options, const std::string& self)
      : options_(options),
        other_(absl::StrCat(options.remote, " '", self, "' --receive --device '", options.transport.devices,
                            "'")),
        transport_(OrFail(CreateUcxTransport(options.transport))),
        header_(options.header_bytes),
        payload_(options.bytes) {
    const std::optional<std::string> address = other_.ReadLine();
    if (!address) Fail("the receiver did not start");
    connection_ = OrFail(transport_->Connect(absl::HexStringToBytes(*address)));
    for (size_t i = 0; i < options.parts; ++i) {
      const size_t begin = options.bytes * i / options.parts;
      parts_.push_back(ByteSpan(payload_).subspan(begin, options.bytes * (i + 1) / options.parts - begin));
    }
    Synchronize();
  }
  ~Sender() {
    OrFail(connection_->Send({}, {}, {}));
    StepUntil(
        *transport_, [](ReceivedMessage) {}, [&] { return !connection_->status().ok(); });
  }

  // Bytes per second, until the other process has received the last.
  double Rate() {
    const auto start = std::chrono::steady_clock::now();
    size_t done = 0;
    for (size_t sent = 0; sent < options_.messages;) {
      if (!connection_->CanSend(options_.header_bytes + options_.bytes)) {
        if (!transport_->Progress([](ReceivedMessage) {})) transport_->Wait(kPatience);
        OrFail(connection_->status());
        continue;
      }
      OrFail(connection_->Send(header_, parts_, [&](const absl::Status& status) {
        OrFail(status);
        ++done;
      }));
      ++sent;
    }
    Synchronize();
    StepUntil(
        *transport_, [](ReceivedMessage) {}, [&] { return done == options_.messages; });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return static_cast<double>(options_.messages * options_.bytes) / seconds.count();
  }

 private:
  void Synchronize() {
    bool answered = false;
    const std::vector<ByteSpan> address = {AsBytes(transport_->address())};
    StepUntil(
        *transport_, [](ReceivedMessage) {}, [&] { return connection_->CanSend(1 + address[0].size()); });
    OrFail(connection_->Send(AsBytes(" "), address, {}));
    StepUntil(
        *transport_, [&](ReceivedMessage) { answered = true; }, [&] { return answered; });
  }

  const Options& options_;
  Process other_;
  const std::unique_ptr<Transport> transport_;
  std::unique_ptr<TransportConnection> connection_;
  const std::vector<std::byte> header_, payload_;
  std::vector<ByteSpan> parts_;
};

// Bytes per second; nothing where there is no ucx_perftest.
std::optional<double> PerftestRate(const Options& options, const std::string& environment) {
  const std::string variables = absl::StrCat(
      "env UCX_TLS=", options.transport.transports, " ", environment,
      options.transport.devices.empty() ? "" : absl::StrCat(" UCX_NET_DEVICES=", options.transport.devices));
  Process server(
      absl::StrCat(options.remote, " ", variables, " timeout 60 ucx_perftest -p ", options.port, " 2>&1"));
  usleep(500'000);  // it does not say when it listens
  Process client(absl::StrCat(variables, " timeout 60 ucx_perftest ", options.remote_host, " -p ",
                              options.port, " -t ucp_am_bw -s ", options.bytes, " -n ", options.messages,
                              " 2>&1"));
  std::optional<double> rate;
  while (const std::optional<std::string> line = client.ReadLine()) {
    // Final: iterations, three times, bandwidth of the last second and of all in 2^20 bytes/s, two rates
    const std::vector<std::string> words = absl::StrSplit(*line, ' ', absl::SkipEmpty());
    double megabytes = 0;
    if (words.size() >= 7 && words[0] == "Final:" && absl::SimpleAtod(words[6], &megabytes)) {
      rate = megabytes * (1 << 20);
    }
  }
  return rate;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Sends messages of one size to another process and reports the throughput, beside that of "
      "ucx_perftest\n"
      "(Debian: ucx-utils) in the same rounds: its eager protocol, and whichever UCX would choose.");
  app.option_defaults()->always_capture_default();
  app.add_option("--bytes", options.bytes, "of a message's payload")
      ->check(CLI::Range(size_t{1}, kMaxPayloadBytes));
  app.add_option("--parts", options.parts, "that a payload is gathered from")->check(CLI::Range(1, 4096));
  app.add_option("--messages", options.messages, "of a round")->check(CLI::PositiveNumber);
  app.add_option("--rounds", options.rounds, "of which the median is reported")->check(CLI::PositiveNumber);
  app.add_option("--device", options.transport.devices, "network interface, on both sides; default: all");
  app.add_option("--remote", options.remote,
                 "command that starts another on the receiving side, as 'ip netns exec b'; default: none");
  app.add_option("--remote-host", options.remote_host, "the receiving side's IP address, for ucx_perftest");
  app.add_option("--port", options.port, "of ucx_perftest");
  app.add_flag("--receive", options.receive, "be the receiving process (internal)");
  if (const std::optional<int> code = ParseOptions(app, argc, argv)) return *code;
  if (options.receive) return Receive(options);

  Sender sender(options, std::filesystem::read_symlink("/proc/self/exe"));
  std::vector<double> own, eager, any;
  for (int round = 0; round < options.rounds; ++round) {
    own.push_back(sender.Rate());
    if (const auto rate = PerftestRate(options, "UCX_RNDV_THRESH=inf")) eager.push_back(*rate);
    if (const auto rate = PerftestRate(options, "UCX_RNDV_THRESH=auto")) any.push_back(*rate);
  }
  std::printf("%zu bytes in %zu parts, median of %d rounds of %zu\n", options.bytes, options.parts,
              options.rounds, options.messages);
  const double rate = Median(own);
  std::printf("%-34s %8.0f MB/s\n", "transport", rate * 1e-6);
  for (const auto& [name, rates] :
       {std::pair{"ucx_perftest ucp_am_bw, eager", eager}, {"ucx_perftest ucp_am_bw", any}}) {
    if (rates.empty()) {
      std::printf("%-34s not measured: is ucx_perftest installed?\n", name);
    } else {
      std::printf("%-34s %8.0f MB/s, of which the transport reaches %.0f %%\n", name, Median(rates) * 1e-6,
                  100 * rate / Median(rates));
    }
  }
  return 0;
}

}  // namespace
}  // namespace longspan::bench

int main(int argc, char** argv) { return longspan::bench::Main(argc, argv); }
