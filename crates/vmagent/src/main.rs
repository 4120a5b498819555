//! The `vmagent` program.

use vmagent::options::Options;

/// Remembers who holds memory, for `/debug/pprof/heap`; how much it remembers is set in `.cargo/config.toml`.
#[cfg(feature = "heap-profile")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    vmkit::service::main(vmagent::flags::app_info(), vmagent::flags::OWN, Options::from_flags, vmagent::app::run);
}
