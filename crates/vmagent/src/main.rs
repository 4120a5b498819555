//! The `vmagent` program.

use vmagent::options::Options;

fn main() {
    vmkit::service::main(vmagent::flags::app_info(), vmagent::flags::OWN, Options::from_flags, vmagent::app::run);
}
