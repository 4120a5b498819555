//! A record of allocations as a `perftools.profiles.Profile`, with the names of functions, files and lines.

use std::collections::HashMap;
use std::time::SystemTime;

use pprof::protos::{Function, Line, Location, Message, Profile, Sample, ValueType};

use super::record::Record;

/// Frames of the allocator and of the library's containers, which `go tool pprof` leaves out, so that memory is counted
/// where it was asked for.
const ALLOCATOR: &str = concat!(
    ".*_rjem_.*|prof_.*|.*__rust_.*alloc.*|<?tikv_jemallocator.*",
    "|<?alloc::(alloc|raw_vec|boxed|rc|sync|vec|slice|string)::.*|<?hashbrown::raw::.*"
);

/// Of these, what only passes calls on and stands near the root of a stack: all that it calls would be left out with it.
/// The tool cuts names at `(` before it looks, so the arguments of a boxed function are not seen.
const CALLS: &str =
    concat!("<alloc::boxed::Box<dyn.*|.*call(_once|_mut)?(<.*)?", "|.*poll(<.*)?|.*__rust_begin_short_backtrace.*");

/// The message's bytes.
pub(super) fn encode(record: &Record, now: SystemTime) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.text("");
    let objects = encoder.value_type("inuse_objects", "count");
    let space = encoder.value_type("inuse_space", "bytes");
    encoder.profile.default_sample_type = space.ty;
    encoder.profile.sample_type = vec![objects, space];
    encoder.profile.period_type = Some(encoder.value_type("space", "bytes"));
    encoder.profile.period = i64::try_from(record.rate).unwrap_or(i64::MAX);
    encoder.profile.drop_frames = encoder.text(ALLOCATOR);
    encoder.profile.keep_frames = encoder.text(CALLS);
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    encoder.profile.time_nanos = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    for stack in record.stacks.iter().filter(|stack| stack.objects > 0) {
        let location_id = stack.addresses.iter().map(|address| encoder.location(*address)).collect();
        encoder.profile.sample.push(Sample {
            location_id,
            value: vec![stack.objects, stack.bytes],
            ..Sample::default()
        });
    }
    encoder.profile.encode_to_vec()
}

/// The message so far, and the numbers of what is already in its tables.
#[derive(Default)]
struct Encoder {
    profile: Profile,
    texts: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<u64, u64>,
}

impl Encoder {
    fn value_type(&mut self, name: &str, unit: &str) -> ValueType {
        ValueType { ty: self.text(name), unit: self.text(unit) }
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = i64::try_from(self.texts.len()).unwrap_or(i64::MAX);
        self.texts.insert(text.to_owned(), number);
        self.profile.string_table.push(text.to_owned());
        number
    }

    /// The number of a return address.
    fn location(&mut self, address: u64) -> u64 {
        if let Some(id) = self.locations.get(&address) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        self.locations.insert(address, id);
        let mut lines = Vec::new();
        // Looks at the call, which stands before the address to which it returns.
        backtrace::resolve(std::ptr::without_provenance_mut(address as usize), |symbol| {
            let Some(name) = symbol.name() else { return };
            let file = symbol.filename().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
            let function_id = self.function(&qualified(&format!("{name:#}"), &file), &file);
            lines.push(Line { function_id, line: symbol.lineno().map_or(0, i64::from) });
        });
        self.profile.location.push(Location {
            id,
            address: address.saturating_sub(1),
            line: lines,
            ..Location::default()
        });
        id
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let key = (self.text(name), self.text(file));
        let id = self.functions.len() as u64 + 1;
        *self.functions.entry(key).or_insert_with(|| {
            let (name, filename) = key;
            // Without a system name: the tool takes a name that is the same as that for one of C++ and cuts it at `<`.
            self.profile.function.push(Function { id, name, filename, ..Function::default() });
            id
        })
    }
}

/// The name of a function with its module, which builds with line tables only do not know: it follows from the file.
fn qualified(name: &str, file: &str) -> String {
    let begin = name.split('<').next().unwrap_or_default();
    let Some((before, path)) = file.rsplit_once("/src/") else { return name.to_owned() };
    if begin.is_empty() || begin.contains("::") {
        return name.to_owned();
    }
    let folder = before.rsplit('/').next().unwrap_or_default();
    // Folders of published crates end with a version.
    let krate = match folder.rsplit_once('-') {
        Some((krate, version)) if version.starts_with(|first: char| first.is_ascii_digit()) => krate,
        _ => folder,
    };
    let parts = path.trim_end_matches(".rs").split('/').filter(|part| !matches!(*part, "lib" | "main" | "mod"));
    let modules = std::iter::once(krate.replace('-', "_")).chain(parts.map(str::to_owned));
    modules.chain([name.to_owned()]).collect::<Vec<_>>().join("::")
}

#[cfg(test)]
mod tests {
    use super::super::record::Stack;
    use super::*;

    #[test]
    fn names_get_their_modules_from_files() {
        let f = |name: &str, file: &str, want: &str| assert_eq!(qualified(name, file), want);
        f("user", "/x/crates/vmauth/src/config/build.rs", "vmauth::config::build::user");
        f("poll", "/cargo/registry/src/index-1/tokio-util-0.7.18/src/sync/mod.rs", "tokio_util::sync::poll");
        f("alloc<u8, fn() -> a::B>", "/rustc/1/library/alloc/src/alloc.rs", "alloc::alloc::alloc<u8, fn() -> a::B>");
        f("run", "/x/my-crate/src/lib.rs", "my_crate::run");
        f("vmauth::app::run", "/x/vmauth/src/app.rs", "vmauth::app::run");
        f("<T as a::B>::c", "/x/a/src/b.rs", "<T as a::B>::c");
        f("malloc", "", "malloc");
        f("main", "./csu/libc-start.c", "main");
    }

    #[test]
    fn tables_are_complete_and_say_things_once() {
        let stack = |addresses: &[u64], objects| Stack { addresses: addresses.to_vec(), objects, bytes: objects * 100 };
        let here = tables_are_complete_and_say_things_once as *const () as u64 + 1;
        let record = Record { rate: 524_288, stacks: vec![stack(&[here, 1], 2), stack(&[here], 3), stack(&[2], 0)] };
        let bytes = encode(&record, SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(7));
        let profile = Profile::decode(bytes.as_slice()).unwrap();

        let text = |number: i64| profile.string_table[usize::try_from(number).unwrap()].as_str();
        assert_eq!(profile.string_table[0], "");
        let types: Vec<_> = profile.sample_type.iter().map(|one| (text(one.ty), text(one.unit))).collect();
        assert_eq!(types, [("inuse_objects", "count"), ("inuse_space", "bytes")]);
        assert_eq!(
            (text(profile.default_sample_type), profile.period, profile.time_nanos),
            ("inuse_space", 524_288, 7)
        );
        let samples: Vec<_> = profile.sample.iter().map(|one| (one.location_id.clone(), one.value.clone())).collect();
        assert_eq!(samples, [(vec![1, 2], vec![2, 200]), (vec![1], vec![3, 300])]);
        assert_eq!(profile.location.len(), 2);
        let name = |line: &Line| text(profile.function[usize::try_from(line.function_id).unwrap() - 1].name).to_owned();
        let names: Vec<_> = profile.location[0].line.iter().map(name).collect();
        assert!(names.iter().any(|name| name.contains("tables_are_complete")), "{names:?}");
        assert_eq!(profile.location[1].line, []);
    }
}
