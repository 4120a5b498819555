//! The `devstack` program, which is `vmauth` and `vmagent` too when it is called so.

use devstack::flags::{Options, TABLE, app_info};

fn main() {
    devstack::program::dispatch();
    vmkit::service::main(app_info(), &[TABLE], Options::from_flags, devstack::app::run);
}
