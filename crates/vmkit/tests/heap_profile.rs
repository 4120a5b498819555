//! The heap profile of a process that has jemalloc as its allocator.

#![allow(clippy::unwrap_used)]

use std::io::Read;

use pprof::protos::{Message, Profile};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const HELD: usize = 64 << 20;

#[inline(never)]
fn hoard() -> Vec<u8> {
    vec![1; HELD]
}

fn profile() -> Profile {
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(vmkit::heap_profile::collect().unwrap().as_slice()).read_to_end(&mut raw).unwrap();
    Profile::decode(raw.as_slice()).unwrap()
}

/// Bytes whose stack has a function with this name.
fn bytes_below(profile: &Profile, name: &str) -> i64 {
    let index = |id: u64| usize::try_from(id).unwrap() - 1;
    let is_named = |location: u64| {
        profile.location[index(location)].line.iter().any(|line| {
            let function = &profile.function[index(line.function_id)];
            profile.string_table[usize::try_from(function.name).unwrap()].contains(name)
        })
    };
    profile
        .sample
        .iter()
        .filter(|sample| sample.location_id.iter().any(|id| is_named(*id)))
        .map(|sample| sample.value[1])
        .sum()
}

#[test]
fn memory_is_in_the_profile_as_long_as_it_is_held() {
    let held = std::hint::black_box(hoard());
    // So large an allocation is sampled for certain, and counted as what the allocator gave.
    let expected = i64::try_from(HELD).unwrap();
    let seen = bytes_below(&profile(), "hoard");
    assert!((expected..expected + expected / 4).contains(&seen), "{seen} of {expected}");
    drop(held);
    assert_eq!(bytes_below(&profile(), "hoard"), 0);
}
