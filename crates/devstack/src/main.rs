//! The `devstack` program, which is `vmauth` and `vmagent` too when it is called so.

use devstack::flags::{Options, TABLE, app_info};

/// Remembers who holds memory, for `/debug/pprof/heap`; how much it remembers is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    devstack::program::dispatch();
    vmkit::service::main(app_info(), &[TABLE], Options::from_flags, devstack::app::run);
}
