//! Rules for headers, compiled once for all targets that have the same.
//!
//! Most targets have none of their own. Compiled rules take half a kilobyte, so ten thousand users would hold megabytes of
//! nothing. Lives while one generation is built.

use std::collections::HashMap;
use std::sync::Arc;

use crate::rewrite::header_rules::{HeaderRule, HeaderRules, ResponseRules};

/// What has been compiled so far.
#[derive(Default)]
pub(super) struct SharedRules {
    requests: HashMap<Vec<HeaderRule>, Arc<HeaderRules>>,
    /// With `keep_original_host`.
    with_client_host: HashMap<Vec<HeaderRule>, Arc<HeaderRules>>,
    replies: HashMap<Vec<HeaderRule>, Arc<ResponseRules>>,
}

impl SharedRules {
    /// The rules of `headers` and `keep_original_host`.
    pub(super) fn of_requests(&mut self, headers: &[HeaderRule], keep_original_host: bool) -> Arc<HeaderRules> {
        let known = if keep_original_host { &mut self.with_client_host } else { &mut self.requests };
        known_or_new(known, headers, || HeaderRules::new(headers, keep_original_host))
    }

    /// The rules of `response_headers`.
    pub(super) fn of_replies(&mut self, headers: &[HeaderRule]) -> Arc<ResponseRules> {
        known_or_new(&mut self.replies, headers, || ResponseRules::new(headers))
    }
}

fn known_or_new<T>(
    known: &mut HashMap<Vec<HeaderRule>, Arc<T>>,
    headers: &[HeaderRule],
    compile: impl FnOnce() -> T,
) -> Arc<T> {
    if let Some(rules) = known.get(headers) {
        return rules.clone();
    }
    let rules = Arc::new(compile());
    known.insert(headers.to_vec(), rules.clone());
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rules_are_one() {
        let mut shared = SharedRules::default();
        let rules = |item: &str| vec![HeaderRule::parse(item).unwrap()];
        let (first, again) = (shared.of_requests(&rules("A: 1"), false), shared.of_requests(&rules("A: 1"), false));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &shared.of_requests(&rules("A: 2"), false)));
        assert!(!Arc::ptr_eq(&first, &shared.of_requests(&rules("A: 1"), true)));
        let (first, again) = (shared.of_replies(&rules("A: 1")), shared.of_replies(&rules("A: 1")));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &shared.of_replies(&[])));
    }
}
