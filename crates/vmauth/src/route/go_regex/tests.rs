use proptest::prelude::*;

use super::*;

#[track_caller]
fn compile(pattern: &str) -> GoRegex {
    GoRegex::new(pattern).unwrap_or_else(|error| panic!("{pattern:?}: {error}"))
}

#[test]
fn todo() {
    let _ = compile("");
}
proptest! {
    #[test]
    fn x(p in "") { let _ = GoRegex::new(&p); }
}
