#include "launcher/load/http_fetch.h"

#include <future>
#include <utility>

#include "kernels/status_macros.h"

namespace longspan::load {
namespace {

class Collector final : public HttpListener {
 public:
  void OnHead(const HttpHead& head, Time) override { answer_.head = head; }
  void OnBody(std::string_view piece, Time) override { answer_.body += piece; }
  void OnEnd(const absl::Status& status, Time) override {
    if (status.ok()) {
      result_.set_value(std::move(answer_));
    } else {
      result_.set_value(status);
    }
  }
  std::future<absl::StatusOr<HttpAnswer>> Result() { return result_.get_future(); }

 private:
  HttpAnswer answer_;
  std::promise<absl::StatusOr<HttpAnswer>> result_;
};

}  // namespace

absl::StatusOr<HttpAnswer> Fetch(HttpClient& client, HttpRequest request) {
  const auto collector = std::make_shared<Collector>();
  std::future<absl::StatusOr<HttpAnswer>> result = collector->Result();
  client.Send(std::move(request), collector);
  return result.get();
}

}  // namespace longspan::load
