//! Several anchored patterns as one automaton, with bounded work for each text.
//!
//! A lazy DFA reads a text at a few nanoseconds a byte and keeps the states it has met. Some patterns make it meet a new
//! one at every byte, above all counted repetitions behind something ambiguous (`.*[ab][a-z]{0,250}`); then it gives up
//! after a few fillings of its cache. Short texts are decided by simulation instead, whose steps are counted
//! beforehand; for longer ones there is no answer within the bound.

use regex_automata::Anchored;
use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::pool::Pool;
use regex_syntax::hir::Hir;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Bytes that a thread's lazy states of one automaton may take.
const CACHE_BYTES: usize = 256 << 10;
/// After so many fillings the lazy automaton must be worth it or gives up.
const FILLINGS: usize = 2;
/// It is worth it when it reads so many bytes for each new state.
const BYTES_PER_STATE: usize = 10;
/// Steps of the simulation: a few milliseconds.
const STEPS: usize = 300_000;

/// A text cannot be matched against a pattern within the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("matching this text would take too long")]
pub struct TooCostly;

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// Anchored patterns in order.
pub struct Automaton {
    lazy: DFA,
    caches: Pool<Cache, NewCache>,
    exact: PikeVM,
}

impl Automaton {
    /// Compiles the patterns; `None` when they would take more than `limit` bytes.
    pub fn build(trees: &[Hir], limit: usize) -> Option<Self> {
        let config = thompson::Config::new().nfa_size_limit(Some(limit)).shrink(false);
        let nfa: NFA = thompson::Compiler::new().configure(config).build_many_from_hir(trees).ok()?;
        let config = Config::new()
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(FILLINGS))
            .minimum_bytes_per_state(Some(BYTES_PER_STATE));
        let lazy = DFA::builder().configure(config).build_from_nfa(nfa.clone()).ok()?;
        let exact = PikeVM::new_from_nfa(nfa).ok()?;
        let for_caches = lazy.clone();
        let new_cache: NewCache = Box::new(move || for_caches.create_cache());
        Some(Self { lazy, caches: Pool::new(new_cache), exact })
    }

    /// The first pattern that matches the whole text, which must be valid UTF-8.
    ///
    /// # Errors
    /// There is no answer within the bound.
    pub fn first(&self, text: &[u8]) -> Result<Option<usize>, TooCostly> {
        if let Some(answer) = self.lazily(text) {
            return Ok(answer);
        }
        if text.len().saturating_mul(self.exact.get_nfa().states().len()) > STEPS {
            return Err(TooCostly);
        }
        Ok(self.exactly(text))
    }

    /// The same, however long it takes: time is linear, but with a large factor.
    pub fn first_unbounded(&self, text: &[u8]) -> Option<usize> {
        self.lazily(text).unwrap_or_else(|| self.exactly(text))
    }

    /// `None` when the lazy automaton gave up.
    fn lazily(&self, text: &[u8]) -> Option<Option<usize>> {
        let mut cache = self.caches.get();
        match self.lazy.try_search_fwd(&mut cache, &anchored(text)) {
            Ok(found) => Some(found.map(|found| found.pattern().as_usize())),
            Err(_) => {
                // The next text begins with an empty cache and all its fillings.
                cache.reset(&self.lazy);
                None
            }
        }
    }

    fn exactly(&self, text: &[u8]) -> Option<usize> {
        let mut cache = self.exact.create_cache();
        let mut slots = [];
        self.exact.search_slots(&mut cache, &anchored(text), &mut slots).map(|found| found.as_usize())
    }
}

impl fmt::Debug for Automaton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Automaton").field("patterns", &self.lazy.pattern_len()).finish_non_exhaustive()
    }
}

fn anchored(text: &[u8]) -> Input<'_> {
    Input::new(text).anchored(Anchored::Yes)
}

#[cfg(test)]
mod tests {
    use super::super::GoRegex;
    use super::*;

    #[test]
    fn costly_patterns_have_an_answer_or_none_but_never_a_wrong_one() {
        // Each byte makes a new set of positions.
        let pattern = GoRegex::new("/[a-z]+/.*[ab][a-z/]{0,250}/[0-9]+").unwrap();
        let mut seed = 1u32;
        let mut letter = |_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b"abcdefgh"[(seed >> 29) as usize])
        };
        let letters: String = (0..900_000).map(&mut letter).collect();
        let text = |length: usize, end: &str| format!("/x/{}{end}", &letters[..length]).into_bytes();
        for end in ["/5", "/x"] {
            assert_eq!(pattern.matches(&text(100, end)), Ok(end == "/5"), "{end}");
            assert_eq!(pattern.is_match(&text(20_000, end)), end == "/5", "{end}");
        }
        assert_eq!(pattern.matches(&text(20_000, "/5")), Err(TooCostly));
        assert_eq!(pattern.matches(&text(900_000, "/5")), Err(TooCostly));
        assert_eq!(pattern.matches(&text(100, "/5")), Ok(true), "the next text is decided again");
    }

    #[test]
    fn usual_patterns_decide_long_texts() {
        let long = format!("{{env=\"dev\",x=\"{}\"}}", "a[b]{c}(d)é".repeat(20_000)).into_bytes();
        for (pattern, want) in [
            (".*{.*env=\"dev\".*}.*", true),
            (".*{.*env=\"prod\".*}.*", false),
            ("(?s).*[^a]+x.*", true),
            (".*(a|b|c|d|e)+.*é\"}", true),
        ] {
            assert_eq!(GoRegex::new(pattern).unwrap().matches(&long), Ok(want), "{pattern}");
        }
    }

    #[test]
    fn the_first_of_several_patterns_is_named() {
        let trees: Vec<_> = ["/a[0-9]+", "/a.*x", "/[a-z]1"].iter().map(|text| GoRegex::new(text).unwrap()).collect();
        let trees: Vec<_> = trees.iter().map(|regex| regex.hir().unwrap().clone()).collect();
        let automaton = Automaton::build(&trees, 1 << 20).unwrap();
        let f = |text: &str, want: Option<usize>| {
            assert_eq!(automaton.first(text.as_bytes()), Ok(want), "{text}");
            assert_eq!(automaton.first_unbounded(text.as_bytes()), want, "{text}");
            assert_eq!(automaton.exactly(text.as_bytes()), want, "{text}");
        };
        f("/a1", Some(0));
        f("/a1x", Some(1));
        f("/b1", Some(2));
        f("/b2", None);
        f("/a", None);
        assert!(Automaton::build(&trees, 100).is_none());
    }
}
