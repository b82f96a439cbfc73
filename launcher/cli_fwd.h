// CLI11 by name: only what looks into an option pays for its header, which takes seconds to compile.
#pragma once

namespace CLI {
class App;
class Option;
}  // namespace CLI
