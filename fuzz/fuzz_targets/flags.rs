//! Command lines, one word a line: no panic, and every value can be listed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmauth::flags::{app_info, groups};
use vmkit::env_template::Environment;
use vmkit::flags::FlagSet;

fuzz_target!(|text: &str| {
    let environment = Environment::from_pairs([("NAME", "value")]);
    let words = std::iter::once("vmauth").chain(text.lines());
    match FlagSet::parse(&groups(), &app_info(), words, &environment) {
        Ok(flags) => {
            for line in flags.all() {
                assert!(line.line().starts_with('-'));
            }
        }
        Err(exit) => assert!(!(exit.stdout.is_empty() && exit.stderr.is_empty())),
    }
});
