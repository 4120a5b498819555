//! Configurations: no panic; errors name a place and stay short.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use vmauth::config::{ConfigDefaults, Inputs, parse};

fuzz_target!(|bytes: &[u8]| {
    let inputs = Inputs {
        expand: &|text| text.to_owned(),
        defaults: &ConfigDefaults::default(),
        read_file: &|_| Err(io::ErrorKind::NotFound.into()),
        check_file: &|_| Ok(()),
    };
    match parse(bytes, &inputs) {
        Ok(config) => drop(format!("{config:?}")),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
});
