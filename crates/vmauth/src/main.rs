//! The `vmauth` program.

use vmauth::options::Options;

fn main() {
    let flags: [&[vmkit::flags::FlagDef]; 1] = [vmauth::flags::TABLE];
    vmkit::service::main(vmauth::flags::app_info(), &flags, Options::from_flags, vmauth::app::run);
}
