//! The `vmauth` program.

use vmauth::options::Options;

/// Remembers who holds memory, for `/debug/pprof/heap`; how much it remembers is set in `.cargo/config.toml`.
#[cfg(feature = "heap-profile")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let args: Vec<_> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if let Some(exit) = vmauth::cli::run(&args) {
        vmkit::process::exit::leave(&exit);
    }
    let flags: [&[vmkit::flags::FlagDef]; 1] = [vmauth::flags::TABLE];
    vmkit::service::main(vmauth::flags::app_info(), &flags, Options::from_flags, vmauth::app::run);
}
